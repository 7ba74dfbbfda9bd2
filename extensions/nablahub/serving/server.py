"""The life of a model server: listen, load the model, serve, drain."""

import asyncio
import logging
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from nablahub.serving import loading
from nablahub.serving.app import Application
from nablahub.serving.errors import ModelError
from nablahub.serving.health import listen
from nablahub.serving.host import ModelHost
from nablahub.serving.http import Connection, Shared
from nablahub.serving.keys import Keys
from nablahub.serving.limits import Limits

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What ``python -m nablahub.serving`` was asked to do.

    Parameters
    ----------
    model
        File or folder of the model version.
    name, version
        As the routes show them.
    kind
        ``onnx``, ``sklearn`` or ``custom``.
    keys
        The keys file, or the folder that holds ``keys.json``.
    host, port
        Where to listen; port 0 takes a free one.
    threads
        Threads of one prediction.
    drain_seconds
        How long requests in work may take after SIGTERM.
    limits
        Of each connection.
    linger_seconds
        How long kept-alive connections stay usable after SIGTERM, so that a proxy sees each
        answer's "Connection: close" rather than a connection that goes away under its next
        request: longer than the proxy keeps one that it doesn't use.
    health_port
        Where health is told without a key, in the same address; None: nowhere.
    message_file
        Where to leave the reason when the model can't be served.
    """

    model: Path
    name: str
    version: str
    kind: str
    keys: Path
    host: str
    port: int
    threads: int = 1
    drain_seconds: float = 10.0
    linger_seconds: float = 1.0
    health_port: int | None = None
    limits: Limits = field(default_factory=Limits)
    message_file: Path | None = None


async def serve(options: Options) -> int:
    """Serve until SIGTERM or SIGINT.

    Returns
    -------
    int
        The exit code: 0 after a drain, 1 when the model can't be loaded.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    host = ModelHost(options.name, options.version)
    with ThreadPoolExecutor(max_workers=options.threads, thread_name_prefix="predict") as pool:
        keys = Keys(options.keys)
        shared = Shared(Application(host, keys), options.limits, pool)
        server = await loop.create_server(
            lambda: Connection(shared), options.host, options.port, backlog=1024
        )
        port = server.sockets[0].getsockname()[1]
        print(f"listening on http://{options.host}:{port}", flush=True)  # noqa: T201 - the runner's line
        health: asyncio.Server | None = None
        if options.health_port is not None:
            health = await listen(host, keys, options.host, options.health_port)
        ticking = loop.create_task(_tick(shared))
        loaded = loop.create_task(_load(host, options))
        stopped = loop.create_task(stop.wait())
        await asyncio.wait({loaded, stopped}, return_when=asyncio.FIRST_COMPLETED)
        failed = loaded.done() and not loaded.result()
        if not failed:
            await stopped
        host.draining = shared.draining = True
        server.close()
        await _drain(shared, 0.0 if failed else options.drain_seconds, options.linger_seconds)
        if health is not None:
            health.close()
        ticking.cancel()
        stopped.cancel()
        loaded.cancel()
    return 1 if failed else 0


async def _load(host: ModelHost, options: Options) -> bool:
    """Load the model in a thread, while the health routes already answer."""
    try:
        model = await asyncio.to_thread(loading.load, options.model, options.kind, options.threads)
        await asyncio.to_thread(host.install, model)
    except ModelError as error:
        _last_words(f"the model can't be served: {error}", options.message_file)
        return False
    log.info("the model %s is ready", options.name)
    return True


def _last_words(message: str, file: Path | None) -> None:
    """Say why the server ends: in the log, and where the runner looks for it."""
    print(message, file=sys.stderr, flush=True)  # noqa: T201 - said to the job's log
    if file is not None:
        file.write_text(message, encoding="utf-8")


async def _tick(shared: Shared) -> None:
    while True:
        await asyncio.sleep(1.0)
        shared.tick()


async def _drain(shared: Shared, seconds: float, linger: float) -> None:
    """Let the requests in work end; then close every connection."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    grace = min(linger, seconds)
    while shared.connections and loop.time() - begun < seconds:
        if loop.time() - begun >= grace:
            for connection in [c for c in shared.connections if c.idle]:
                connection.close()
        await asyncio.sleep(0.02)
    for connection in list(shared.connections):
        connection.close()
