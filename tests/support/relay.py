"""Passes connections on to a port of the loopback address: pods reach what listens only there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextmanager
def relayed(host: str, *ports: int) -> Iterator[None]:
    """While the block runs, ``host:port`` is 127.0.0.1's port, for each of them."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="relay", daemon=True)
    thread.start()

    async def listen() -> list[asyncio.Server]:
        return [await asyncio.start_server(_passing(port), host, port) for port in ports]

    async def close(servers: list[asyncio.Server]) -> None:
        for server in servers:
            server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await asyncio.sleep(0)  # the transports' turn to close

    servers = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    try:
        yield
    finally:
        asyncio.run_coroutine_threadsafe(close(servers), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


def _passing(port: int):  # type: ignore[no-untyped-def]  # asyncio's callback
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.close()
            return
        with suppress(asyncio.CancelledError):  # the block's end; nobody awaits this task
            await asyncio.gather(_pump(reader, inner[1]), _pump(inner[0], writer))

    return serve


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(OSError):
            while piece := await reader.read(65536):
                writer.write(piece)
                await writer.drain()
    finally:
        writer.close()
