"""``python -m nablahub.service --state-dir DIR``: runs the service until SIGTERM.

Its settings are read from ``service/settings.json`` there, or from ``--settings FILE``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from pydantic import ValidationError
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from nablahub.core import migrate as schema
from nablahub.core.errors import NablaError
from nablahub.core.extension import discover
from nablahub.core.settings import Settings
from nablahub.core.sockets import inherited, listening
from nablahub.core.state import StateDir
from nablahub.service.app import Service, database_of

log = logging.getLogger("nablahub.service")

EXIT_CONFIG = 2
DRAIN_SECONDS = 2.0
#: Taken from a connection at once: with tornado's 64 KiB an upload costs half as much CPU again.
READ_BYTES = 1024 * 1024


async def serve(settings: Settings, found: Sequence[socket.socket] = (), address: str = "") -> None:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    settings : Settings
        Where to listen and what to serve.
    found : sequence of socket
        Listening sockets that this process was started with.
    address : str
        Where other processes of the service reach this one; empty: where it listens.
    """
    address = address or f"http://{settings.service_host}:{settings.service_port}"
    service = Service(settings, address=address)
    await service.start()
    server = HTTPServer(
        service.application(),
        max_buffer_size=settings.max_body_bytes * 2,
        chunk_size=READ_BYTES,
        max_body_size=settings.max_upload_bytes,
        idle_connection_timeout=120,
        xheaders=False,
    )
    host, port = settings.service_host, settings.service_port
    server.add_sockets(listening(found, host, port) or bind_sockets(port, host))
    log.info("Listening on %s:%d", host, port)
    gc.freeze()  # What is there from the start stays: no collection need look at it.
    pages = HTTPServer(service.metrics.application())
    if settings.metrics_port:
        pages.listen(settings.metrics_port, host)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()
    server.stop()
    pages.stop()
    await service.stop()
    try:
        await asyncio.wait_for(server.close_all_connections(), DRAIN_SECONDS)
    except TimeoutError:
        log.info("Some connections were still open")


@click.command()
@click.option("--state-dir", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--settings", "given", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--address", default="", help="Where other processes of the service reach it.")
@click.option("--migrate", "only_migrate", is_flag=True, help="Migrate the database, and end.")
def main(state_dir: Path, given: Path | None, address: str, only_migrate: bool) -> None:
    """Run the hub service of a state directory."""
    found = inherited()  # first of all: nothing that is started may inherit them too
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    for noisy in ("alembic", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    state = StateDir(state_dir.absolute()).make()
    path = given or state.settings
    try:
        settings = Settings.load(path)
        with contextlib.ExitStack() as held:
            if not settings.database_url:
                held.enter_context(locked(state.run / "service.lock"))
            if only_migrate:
                migrate(settings)
            else:
                asyncio.run(serve(settings, found, address))
    except ValidationError as error:
        log.critical("%s: %s", path, error)
        sys.exit(EXIT_CONFIG)
    except (NablaError, OSError) as error:
        log.critical("The service cannot run: %s", error)
        sys.exit(1)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock: two services on one SQLite file would undo each other's work.

    It dies with the process. Those that share a database have the lease instead.
    """
    lock = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def migrate(settings: Settings) -> None:
    """Bring the database to this release's schema."""
    database = database_of(settings)
    try:
        applied = schema.migrate(database, discover(), settings.state.backups)
    finally:
        database.close()
    log.info("Applied %d schema revisions: %s", len(applied), ", ".join(applied) or "none")


if __name__ == "__main__":
    main()
