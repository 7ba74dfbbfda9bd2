"""What our handlers share: who may use them, and how they refuse."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import Any

import httpx
from jupyter_server.base.handlers import APIHandler

from nablahub_server.upstream import Upstream


class OwnersHandler(APIHandler):
    """A handler for the server's owner alone, which answers refusals as the service does."""

    auth_resource = "nablahub"
    # An open panel listens all day; that must not keep an idle server alive.
    _track_activity = False
    #: Whether the handler was called before the request's body was read.
    unread = False

    def initialize(self, upstream: Upstream, client: httpx.AsyncClient) -> None:
        """Take the route's options."""
        self.upstream = upstream
        self.client = client

    async def prepare(self) -> None:  # type: ignore[override]  # as APIHandler's own
        """Check who calls (and XSRF, in the base class)."""
        await super().prepare()
        if self._finished:
            return
        if self.current_user is None:
            self.problem(403, "unauthenticated", "Sign in first: this call came without a session.")
            return
        owner = self.upstream.owner
        if owner and self.current_user.username != owner:
            self.problem(403, "forbidden", f"Only {owner} may use NablaHub through this server.")

    def problem(
        self, status: int, code: str, detail: str, hint: str = "", *, finish: bool = True
    ) -> None:
        """Answer with RFC 9457 problem details."""
        title = HTTPStatus(status).phrase
        told = {"type": "about:blank", "title": title, "status": status, "code": code}
        told |= {"detail": detail} | ({"hint": hint} if hint else {})
        self.set_status(status)
        self.write(json.dumps(told))
        self.set_header("Content-Type", "application/problem+json")
        if finish:
            if self.unread:
                # The connection ends with this answer: no other request is to be sent on it.
                self.set_header("Connection", "close")
            self.finish()

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Give Jupyter's own refusals (sign-in, XSRF) the same form as the service's."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        said = getattr(error, "log_message", None)
        detail = str(said) if said else HTTPStatus(status_code).phrase
        code = {401: "unauthenticated", 403: "forbidden", 404: "not-found"}.get(
            status_code, "internal" if status_code >= 500 else "malformed"
        )
        self.problem(status_code, code, detail)

    def finish(self, *args: Any, **kwargs: Any) -> asyncio.Future[None]:
        """End the answer; its type is what was set, where APIHandler would say JSON."""
        kwargs["set_content_type"] = self._headers.get("Content-Type", "application/json")
        return super().finish(*args, **kwargs)
