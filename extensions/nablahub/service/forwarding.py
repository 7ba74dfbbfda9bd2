"""Hands requests on to the process that leads, where only that one can answer them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx

from nablahub.core.errors import Unavailable
from nablahub.core.lease import Lease
from nablahub.core.operations import StreamCall

#: Headers of a request and of an answer that go on; the rest belong to one connection.
ASKED = (
    "Accept", "Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match",
    "Last-Event-ID", "Range",
)  # fmt: skip
ANSWERED = (
    "Content-Type", "Content-Disposition", "Content-Range", "Content-Length", "ETag",
    "Accept-Ranges", "X-Accel-Buffering", "Allow", "WWW-Authenticate",
)  # fmt: skip
CONNECT_SECONDS = 5.0


class Forwarder:
    """Sends a streamed request to the leader, and its answer back.

    Parameters
    ----------
    lease : Lease
        Who leads.
    """

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        # What comes may come slowly: a log that is followed is silent for as long as its job is.
        timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
        limits = httpx.Limits(max_connections=None)
        self._client = httpx.AsyncClient(timeout=timeout, limits=limits, trust_env=False)

    @property
    def needed(self) -> bool:
        """Whether another process has to answer."""
        return not self._lease.held

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def forward(self, call: StreamCall, uri: str) -> None:
        """Ask the leader and pass its answer on as it comes.

        Raises
        ------
        Unavailable
            Nobody leads, or the leader does not answer.
        """
        address = await call.db_read(self._lease.leader)
        if address == self._lease.address:
            raise _gone()
        headers = {
            name: call.request_headers[name] for name in ASKED if name in call.request_headers
        }
        request = self._client.build_request(
            call.method, address + uri, headers=headers, content=_body(call)
        )
        try:
            answer = await self._client.send(request, stream=True)
        except httpx.TransportError as error:
            raise _gone() from error
        try:
            call.set_status(answer.status_code)
            for name in ANSWERED:
                if name in answer.headers:
                    call.set_header(name, answer.headers[name])
            async for part in answer.aiter_raw():
                await call.write(part)
        except httpx.TransportError as error:
            raise _gone() from error
        finally:
            await answer.aclose()


def _body(call: StreamCall) -> AsyncIterator[bytes] | None:
    return call.chunks() if call.method in ("PUT", "POST", "PATCH") else None


def _gone() -> Unavailable:
    return Unavailable(
        "The process of the service that leads does not answer.",
        hint="Another one takes its place within some seconds: try again then.",
    )
