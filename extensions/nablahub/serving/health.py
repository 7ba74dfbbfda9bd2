"""Health on a port of its own: for whoever looks after the process and has no key."""

from __future__ import annotations

import asyncio

from nablahub.serving.host import ModelHost
from nablahub.serving.keys import Keys

_SECONDS = 5.0
_LONGEST = 64 * 1024


async def listen(host: ModelHost, keys: Keys, address: str, port: int) -> asyncio.Server:
    """Answer ``GET /live`` as long as the event loop runs, and ``GET /ready`` by what is.

    Ready: the model is loaded, the keys that open it are known, and the server does not drain.
    """

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1].partition(b"?")[0]
                writer.write(_response(path, ready=host.ready and keys.known))
                await writer.drain()
        except (OSError, EOFError, TimeoutError, IndexError, asyncio.LimitOverrunError):
            pass  # Whoever asked went away, or speaks something else than HTTP.
        finally:
            writer.close()

    return await asyncio.start_server(answer, address, port, limit=_LONGEST)


def _response(path: bytes, *, ready: bool) -> bytes:
    if path == b"/live" or (path == b"/ready" and ready):
        status, body = b"200 OK", b"ok\n"
    elif path == b"/ready":
        status, body = b"503 Service Unavailable", b"not ready\n"
    else:
        status, body = b"404 Not Found", b"only /live and /ready\n"
    return (
        b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n"
        b"Connection: close\r\n\r\n%b" % (status, len(body), body)
    )
