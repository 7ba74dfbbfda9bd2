"""A streamed request, as tornado has it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from nablahub.core.errors import TooLarge
from nablahub.core.operations import StreamCall
from nablahub.core.permissions import Principal
from nablahub.service.auth import token_of

if TYPE_CHECKING:
    from nablahub.service.http import EdgeHandler

#: Of at most a mebibyte each, by request.
QUEUED_CHUNKS = 2


class HttpCall(StreamCall):
    """A streamed request as tornado has it."""

    def __init__(self, edge: EdgeHandler, who: Principal, path: Mapping[str, str]) -> None:
        self._edge = edge
        self.who = who
        self.path = path
        self.query = edge.query
        self.context = edge.context
        self.method = str(edge.request.method)
        self.request_headers = edge.request.headers
        self.body: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED_CHUNKS)
        self._ended = False

    async def read(self) -> bytes:
        """Return the whole body."""
        limit = self.context.settings.max_body_bytes
        parts = bytearray()
        async for chunk in self.chunks():
            parts += chunk
            if len(parts) > limit:
                raise body_too_large(limit)
        return bytes(parts)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives; nothing more once it has ended."""
        while not self._ended:
            chunk = await self.body.get()
            if chunk is None:
                self._ended = True
            else:
                yield chunk

    async def write(self, data: bytes) -> None:
        """Send bytes."""
        self._edge.write(data)
        await self._edge.flush()

    async def sse(self, data: Any, *, event: str | None = None, seq: str | None = None) -> None:
        """Send one server-sent event."""
        lines = [f"id: {seq}"] if seq is not None else []
        lines += [f"event: {event}"] if event is not None else []
        lines.append(f"data: {json.dumps(data, default=str)}")
        await self.write(("\n".join(lines) + "\n\n").encode())

    async def reauthenticate(self) -> None:
        """Check that the token still stands for the same."""
        token = token_of(self.request_headers.get("Authorization"))
        self.who = await self._edge.authenticator.principal(token)

    def set_header(self, name: str, value: str) -> None:
        """Set a header of the answer."""
        self._edge.set_header(name, value)

    def set_status(self, status: int) -> None:
        """Set the status of the answer."""
        self._edge.set_status(status)


def body_too_large(limit: int) -> TooLarge:
    """Return the error for a body above the limit in bytes."""
    return TooLarge(
        f"The body is larger than the {limit} bytes that are accepted here.",
        hint="Send less at once; files go into datasets.",
    )
