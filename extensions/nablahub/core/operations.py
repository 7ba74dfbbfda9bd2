"""An operation is declared once, on its handler; routes, checks and the OpenAPI document follow.

A handler reads the request, makes one call to a service and shapes the answer. ``@operation`` is
for JSON in and out, in one transaction; ``@stream`` for bytes and live events.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
import typing
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import PreconditionFailed, PreconditionRequired
from nablahub.core.permissions import NEEDS, Principal
from nablahub.core.wire import LARGEST

Method = Literal["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
ATTRIBUTE = "__nablahub_operation__"
#: Between two looks at the token of a long answer.
HEARTBEAT_SECONDS = 15.0
PARAMETER = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True)
class Operation:
    """One method on one path.

    Parameters
    ----------
    method, path : str
        ``{name}`` in the path stands for one segment, ``{name+}`` for the rest of it.
    scope : str or None
        ``"<noun>:read"`` or ``"<noun>:write"``; None: anybody, signed in or not.
    root : bool
        The path is relative to the service's prefix and not to ``api/v1``.
    read_only : bool
        It changes nothing, whatever its method.
    prepare : callable or None
        What is done in a thread of its own before the transaction; a coroutine, which waits for a
        store elsewhere, is awaited on the loop.
    at_leader : bool
        Of several processes the leader alone can or may answer, and the others hand it on.
    """

    method: Method
    path: str
    handler: Callable[..., Any]
    scope: str | None
    status: int = 200
    body: Any = None
    query: type[BaseModel] | None = None
    response: Any = None
    streamed: bool = False
    consumes: str | None = None
    produces: str | None = None
    root: bool = False
    read_only: bool = False
    prepare: Callable[[Preparation, Any], Any] | None = None
    at_leader: bool = False

    @property
    def name(self) -> str:
        """The operation's id: ``<slice>_<function>``."""
        return f"{self.handler.__module__.split('.')[-2]}_{self.handler.__name__}"

    @property
    def parameters(self) -> list[str]:
        """Names of the path's parameters, in order."""
        return [name for name, _ in PARAMETER.findall(self.path)]

    @property
    def pattern(self) -> str:
        """The path as a regular expression with named groups."""
        parts: list[str] = []
        end = 0
        for found in PARAMETER.finditer(self.path):
            parts.append(re.escape(self.path[end : found.start()]))
            parts.append(f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})")
            end = found.end()
        return "".join(parts) + re.escape(self.path[end:])

    @property
    def writes(self) -> bool:
        """Whether the operation changes something."""
        return self.method not in ("GET", "HEAD") and not self.read_only


def last_event_id(headers: Mapping[str, str]) -> int | None:
    """Return the number of the last event a client saw; None when it sent none that is ours."""
    given = headers.get("Last-Event-ID", "")
    known = given.isascii() and given.isdecimal() and len(given) < len(str(LARGEST))
    return int(given) if known else None


def check_etag(if_match: str | None, revision: int) -> None:
    """Compare ``If-Match`` with the row's revision (RFC 9110, 13.1.1).

    Raises
    ------
    PreconditionRequired
        When the header is missing.
    PreconditionFailed
        When the thing has been changed since.
    """
    if if_match is None:
        raise PreconditionRequired(
            "An update must say which revision it starts from.",
            hint="Read the thing first and send its ETag as If-Match.",
        )
    tags = [tag.strip().removeprefix("W/") for tag in if_match.split(",")]
    if "*" not in tags and f'"{revision}"' not in tags:
        raise PreconditionFailed(
            f"It has been changed since you read it: its revision is now {revision}.",
            hint="Read it again and repeat your change on what is there now.",
        )


@dataclass(frozen=True)
class Preparation:
    """One request before its transaction has begun, as an operation's ``prepare`` sees it."""

    who: Principal
    path: Mapping[str, str]
    context: Context
    if_match: str | None = None

    def get[T](self, kind: type[T]) -> T:
        """Return a service by its class."""
        return self.context.get(kind)

    def read[T](self, work: Callable[[Session], T]) -> T:
        """Run work in a read transaction, in this thread."""
        return self.context.database.read_sync(work)

    def check_etag(self, revision: int) -> None:
        """Refuse an update of an older revision; see :func:`check_etag`."""
        check_etag(self.if_match, revision)


@dataclass
class Call:
    """One request, as a handler of ``@operation`` sees it."""

    session: Session
    who: Principal
    path: Mapping[str, str]
    query: Any
    context: Context
    if_match: str | None = None
    idempotency_key: str | None = None
    prepared: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def get[T](self, kind: type[T]) -> T:
        """Return a service by its class."""
        return self.context.get(kind)

    def check_etag(self, revision: int) -> None:
        """Refuse an update of an older revision; see :func:`check_etag`."""
        check_etag(self.if_match, revision)


class StreamCall(ABC):
    """One request, as a handler of ``@stream`` sees it; the service implements it."""

    who: Principal
    path: Mapping[str, str]
    query: Any
    context: Context
    method: str
    request_headers: Mapping[str, str]

    def get[T](self, kind: type[T]) -> T:
        """Return a service by its class."""
        return self.context.get(kind)

    async def db_read[T](self, work: Callable[[Session], T]) -> T:
        """Run work in a read transaction."""
        return await self.context.database.read(work)

    async def db_write[T](self, work: Callable[[Session], T]) -> T:
        """Run work in a write transaction."""
        return await self.context.database.write(work)

    @abstractmethod
    async def read(self) -> bytes:
        """Return the whole body; TooLarge above ``Settings.max_body_bytes``."""

    @abstractmethod
    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; memory stays flat."""

    @abstractmethod
    async def write(self, data: bytes) -> None:
        """Send bytes; returns when the client has room for more."""

    @abstractmethod
    async def sse(self, data: Any, *, event: str | None = None, seq: str | None = None) -> None:
        """Send one server-sent event; ``data`` becomes JSON."""

    @abstractmethod
    async def reauthenticate(self) -> None:
        """Check a token again in the midst of a long answer; Unauthenticated when it is dead."""

    async def living[T](self, source: AsyncIterator[T]) -> AsyncGenerator[T]:
        """Yield what a source gives, and see that both ends of a long answer are still there.

        Each :data:`HEARTBEAT_SECONDS` the token is checked again; where nothing came meanwhile a
        comment is sent, so that neither the client nor a proxy takes the silence for the end.
        """
        loop = asyncio.get_running_loop()
        following = asyncio.ensure_future(_next(source))
        try:
            checked = loop.time()
            while True:
                left = checked + HEARTBEAT_SECONDS - loop.time()
                done, _ = await asyncio.wait({following}, timeout=max(left, 0))
                if not done or left <= 0:
                    await self.reauthenticate()
                    checked = loop.time()
                if not done:
                    await self.write(b": still here\n\n")
                    continue
                try:
                    found = following.result()
                except StopAsyncIteration:
                    return
                following = asyncio.ensure_future(_next(source))
                yield found
        finally:
            following.cancel()
            # The source can only be closed when nobody waits in it any more.
            await asyncio.gather(following, return_exceptions=True)

    @abstractmethod
    def set_header(self, name: str, value: str) -> None:
        """Set a header of the answer, before the first byte of it."""

    @abstractmethod
    def set_status(self, status: int) -> None:
        """Set the status of the answer, before the first byte of it."""


async def _next[T](source: AsyncIterator[T]) -> T:
    return await anext(source)


def _declare(declared: Operation) -> Callable[..., Any]:
    if declared.scope is not None and declared.scope.rpartition(":")[2] not in NEEDS:
        raise ValueError(f"{declared.method} {declared.path}: unknown scope {declared.scope!r}")
    setattr(declared.handler, ATTRIBUTE, declared)
    return declared.handler


def operation[F: Callable[..., Any]](
    method: Method,
    path: str,
    *,
    scope: str | None,
    status: int = 200,
    query: type[BaseModel] | None = None,
    read_only: bool = False,
    prepare: Callable[[Preparation, Any], Any] | None = None,
) -> Callable[[F], F]:
    """Declare a handler ``(call: Call[, body: Model]) -> Model | None`` as an operation.

    The body's and the answer's types are taken from the annotations. The handler runs in one
    transaction, in a thread; 204 is sent when it returns None. All writing requests share one
    thread: what may take long (reading a spec) belongs into ``prepare``, which gets the body and
    whose result is ``call.prepared``; where it waits and does not compute it is a coroutine. A POST
    that stores nothing says ``read_only``.
    """

    def declare(handler: F) -> F:
        hints = typing.get_type_hints(handler, vars(sys.modules[handler.__module__]))
        response = hints.pop("return")
        others = [name for name in inspect.signature(handler).parameters if name != "call"]
        return typing.cast(
            "F",
            _declare(
                Operation(
                    method,
                    path,
                    handler,
                    scope,
                    status=204 if response is type(None) else status,
                    body=hints[others[0]] if others else None,
                    query=query,
                    response=None if response is type(None) else response,
                    read_only=read_only,
                    prepare=prepare,
                )
            ),
        )

    return declare


def stream[F: Callable[..., Any]](
    method: Method,
    path: str,
    *,
    scope: str | None,
    status: int = 200,
    query: type[BaseModel] | None = None,
    consumes: str | None = None,
    produces: str | None = None,
    root: bool = False,
) -> Callable[[F], F]:
    """Declare ``async (call: StreamCall) -> BaseModel | None`` for bytes and live events.

    It manages its own transactions. What it returns, if anything, is sent as JSON.
    """

    def declare(handler: F) -> F:
        hints = typing.get_type_hints(handler, vars(sys.modules[handler.__module__]))
        response = hints.get("return")
        return typing.cast(
            "F",
            _declare(
                Operation(
                    method,
                    path,
                    handler,
                    scope,
                    status=status,
                    query=query,
                    response=None if response is type(None) else response,
                    streamed=True,
                    consumes=consumes,
                    produces=produces,
                    root=root,
                )
            ),
        )

    return declare


def at_leader[F: Callable[..., Any]](handler: F) -> F:
    """Declare that of several processes the leader alone can answer a stream.

    The others hand the request on to it.
    """
    setattr(handler, ATTRIBUTE, replace(getattr(handler, ATTRIBUTE), at_leader=True))
    return handler


def collect(module: ModuleType) -> list[Operation]:
    """Return the operations that a module declares, in the order of its source."""
    found = [
        getattr(value, ATTRIBUTE)
        for value in vars(module).values()
        if hasattr(value, ATTRIBUTE) and value.__module__ == module.__name__
    ]
    return sorted(found, key=lambda op: op.handler.__code__.co_firstlineno)
