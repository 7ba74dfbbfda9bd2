"""Versions in this server's ``/datasets``, mounted and unmounted by Lab's pages.

The links are made in the server itself, by the client that notebooks use as well; so it is the
server, and not the service, that Lab asks.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from jupyter_server.auth.decorator import authorized
from tornado import web

from nablahub.core.errors import (
    Conflict,
    Forbidden,
    Malformed,
    NablaError,
    NotFound,
    QuotaExceeded,
    StorageFull,
    Unauthenticated,
    Unavailable,
)
from nablahub.core.transport import Transport
from nablahub.mounts.api import MountsAPI
from nablahub.mounts.view import View
from nablahub_server.owners import OwnersHandler

#: As the service answers them; what is not here is 422.
_STATUS: Final[dict[type[NablaError], int]] = {
    Malformed: 400, Unauthenticated: 401, Forbidden: 403, NotFound: 404, Conflict: 409,
    QuotaExceeded: 413, Unavailable: 503, StorageFull: 507,
}  # fmt: skip


class MountsHandler(OwnersHandler):
    """``nablahub/mounts``: what this server shows in ``/datasets``."""

    @web.authenticated
    @authorized
    async def get(self) -> None:
        """Tell what is shown; ``here`` is false where this server can show nothing."""

        def work(mounts: MountsAPI) -> dict[str, Any]:
            return {
                "here": True,
                "items": [found.model_dump(mode="json") for found in mounts.list()],
            }

        if View.here() is None or not self.upstream.url:
            self._answer({"here": False, "items": []})
            return
        await self._do(work)

    @web.authenticated
    @authorized
    async def post(self) -> None:
        """Show a version; answers once it can be read. The body is ``{"dataset": …}``."""
        asked = self._body()
        if asked is None:
            return
        dataset = asked["dataset"]
        await self._do(lambda mounts: mounts.mount(dataset).model_dump(mode="json"), 201)

    @web.authenticated
    @authorized
    async def delete(self) -> None:
        """Show something no more, by the argument ``name``."""
        name = self.get_query_argument("name")
        await self._do(lambda mounts: mounts.unmount(name).model_dump(mode="json"))

    def _body(self) -> dict[str, str] | None:
        try:
            asked = json.loads(self.request.body)
        except ValueError:
            asked = None
        if isinstance(asked, dict) and isinstance(asked.get("dataset"), str):
            return asked
        self.problem(400, "malformed", 'Say which version: {"dataset": "<id>:<version>"}.')
        return None

    async def _do(self, work: Callable[[MountsAPI], dict[str, Any]], status: int = 200) -> None:
        """Call the service in a thread: the first reader of a version waits for its files."""

        def call() -> dict[str, Any]:
            hub = Transport(self.upstream.url, self.upstream.token)
            try:
                return work(MountsAPI(hub))
            finally:
                hub.close()

        try:
            found = await asyncio.to_thread(call)
        except NablaError as error:
            status = next((s for kind, s in _STATUS.items() if isinstance(error, kind)), 422)
            self.problem(status, error.code, error.detail, error.hint)
            return
        self._answer(found, status)

    def _answer(self, found: dict[str, Any], status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(found))
