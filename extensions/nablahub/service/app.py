"""Assembles the service: extensions, database, routes."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Sequence
from typing import Any

from tornado import web

from nablahub.core.context import Context
from nablahub.core.database import Database
from nablahub.core.engines import postgresql
from nablahub.core.extension import Extension, discover, load
from nablahub.core.migrate import check, migrate
from nablahub.core.operations import Operation, StreamCall, collect, stream
from nablahub.core.settings import Settings
from nablahub.service import handlers
from nablahub.service.auth import Authenticator
from nablahub.service.forwarding import Forwarder
from nablahub.service.http import EdgeHandler
from nablahub.service.leading import Leading, end_process
from nablahub.service.metrics import Metrics
from nablahub.service.missing import NoDeploymentHandler, NotFoundHandler
from nablahub.service.openapi import build
from nablahub.service.preparing import Preparer

log = logging.getLogger(__name__)


class Service:
    """The whole service, built but not yet listening.

    Parameters
    ----------
    settings : Settings
        What it is told.
    extensions : sequence of Extension or None
        Default: those installed.
    address : str
        Where other processes of the service reach this one, if there are several.
    ended : callable
        Called when another process may lead in this one's place.
    """

    def __init__(
        self,
        settings: Settings,
        extensions: Sequence[Extension] | None = None,
        *,
        address: str = "",
        ended: Callable[[], None] = end_process,
    ) -> None:
        self._ended = ended
        self.settings = settings
        self.extensions = list(discover() if extensions is None else extensions)
        self.database = database_of(settings)
        try:
            self._prepare_schema()
        except BaseException:
            self.database.close()
            raise
        self.context = Context(settings, self.database, address)
        for extension in self.extensions:
            if extension.service is not None:
                self.context.add(load(extension.service)(self.context))
        self.operations = operations_of(self.extensions)
        self.document = build(self.operations, settings.service_prefix.rstrip("/"))

    def _prepare_schema(self) -> None:
        if not self.settings.migrate_at_start:
            check(self.database, self.extensions, self.settings.state.backups)
            return
        applied = migrate(self.database, self.extensions, self.settings.state.backups)
        if applied:
            log.info("Applied %d schema revisions: %s", len(applied), ", ".join(applied))

    async def start(self) -> None:
        """Start what the slices run beside requests, and lead as soon as nobody else does.

        Where this process is the only one, it leads when this returns.
        """
        self.authenticator = Authenticator(self.context)
        self.preparer = Preparer()
        self.forwarder = Forwarder(self.context.lease)
        self.metrics = Metrics(self.context)
        self.leading = Leading(self.context, self._ended)
        for service in self.context.services:
            if hasattr(service, "start"):
                await service.start()
        await self.leading.start()

    async def stop(self) -> None:
        """Stop in the opposite order; nothing that runs outside is ended by it."""
        self.context.events.close()
        await self.context.reconciler.close()
        for service in reversed(self.context.services):
            if hasattr(service, "stop"):
                await service.stop()
        await self.leading.stop()
        await self.authenticator.close()
        await self.forwarder.close()
        self.preparer.close()
        self.database.close()

    def application(self) -> web.Application:
        """Return the tornado application; :meth:`start` must have run."""
        prefix = self.settings.service_prefix.rstrip("/")
        by_path: dict[str, dict[str, Operation]] = {}
        for op in [*self.operations, self._document_operation()]:
            path = prefix + ("" if op.root else "/api/v1") + op.pattern
            methods = by_path.setdefault(path, {})
            if op.method in methods:
                raise ValueError(f"two operations on {op.method} {op.path}")
            methods[op.method] = op
        shared = {
            "context": self.context, "authenticator": self.authenticator,
            "preparer": self.preparer, "forwarder": self.forwarder,
            "metrics": self.metrics,
        }  # fmt: skip
        # Paths without parameters first, and "rest of the path" last: most special wins.
        ordered = sorted(by_path, key=lambda p: (p.count(".+"), p.count("(?P<"), -len(p)))
        # By their noun: a request is then compared with a dozen patterns and not with them all.
        nouns: dict[str, list[Any]] = {}
        for path in ordered:
            noun = path.removeprefix(f"{prefix}/api/v1/").split("/")[0]
            route = (path + "$", EdgeHandler, {**shared, "operations": by_path[path]})
            nouns.setdefault(noun, []).append(route)
        nothing = {**shared, "operations": {}}
        routes: list[Any] = [
            *((rf"{prefix}/api/v1/{noun}(?:/.*)?$", own) for noun, own in nouns.items() if noun),
            *nouns.get("", ()),
            (r"/deployments(?:/.*)?", NoDeploymentHandler, nothing),
            (r".*", NotFoundHandler, nothing),
        ]
        return web.Application(routes, log_function=_log_request)

    def _document_operation(self) -> Operation:
        text = json.dumps(self.document).encode()

        @stream("GET", "/api/openapi.json", scope=None, root=True, produces="application/json")
        async def openapi(call: StreamCall) -> None:
            """Get this document."""
            await call.write(text)

        return collect_one(openapi)


def database_of(settings: Settings) -> Database:
    """Return the database that the settings name; it is not yet connected to."""
    if not settings.database_url:
        return Database(settings.state.database)
    return Database(postgresql(settings.database_url, settings.database_password_file))


def collect_one(handler: Any) -> Operation:
    """Return the operation that was declared on a function."""
    found: Operation = handler.__nablahub_operation__
    return found


def operations_of(extensions: Sequence[Extension]) -> list[Operation]:
    """Return all operations that are served but the OpenAPI document itself."""
    found = collect(sys.modules[handlers.__name__])
    for extension in extensions:
        modules = extension.operations or ()
        for module in (modules,) if isinstance(modules, str) else modules:
            found += collect(load(module))
    return found


def _log_request(handler: web.RequestHandler) -> None:
    status = handler.get_status()
    level = logging.WARNING if status >= 500 else logging.DEBUG
    request = handler.request
    took = 1000 * request.request_time()
    log.log(level, "%d %s %s %.1f ms", status, request.method, request.path, took)
