"""The two databases there are: a SQLite file, and PostgreSQL shared by several processes.

What differs between them stands here: how a transaction begins, who may write at a time, and what
their errors mean.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError, InterfaceError, OperationalError

from nablahub.core.errors import Invalid, NablaError, StorageFull, Unavailable

READERS = 4
#: Key of the advisory lock that a writer of PostgreSQL holds until its transaction ends.
WRITE_LOCK = 0x6E61626C61
#: A transaction that does nothing for so long has lost its process: it must not hold up the rest.
IDLE_SECONDS = 60
WAIT_SECONDS = 10
SPARE_SECONDS = 3
DISK_FULL = re.compile(r"disk is full|disk I/O error|unable to open database")


class BadDatabase(NablaError):
    """The URL of the database is none that can be used."""

    code = "bad_database"
    title = "The database cannot be used"


@dataclass(frozen=True)
class Backend:
    """A database that can be connected to.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Its connections.
    write, read : str
        The first statement of a transaction that writes, or that only reads. The one lets in one
        writer at a time, the other sees the same from its first to its last query.
    file : pathlib.Path or None
        The SQLite file; None: it is shared by several processes.
    spare : sqlalchemy.Engine or None
        A connection apart for what must not wait for another, where the database is shared.
    arguments : callable or None
        Returns what a connection of the driver's own is made with.
    """

    engine: Engine
    write: str
    read: str
    file: Path | None
    spare: Engine | None = None
    arguments: Callable[..., dict[str, Any]] | None = None

    def dispose(self) -> None:
        """Let all connections go."""
        self.engine.dispose()
        if self.spare is not None:
            self.spare.dispose()


def sqlite(path: Path) -> Backend:
    """Return the SQLite file at a path; its folder must be there."""
    engine = create_engine(
        URL.create("sqlite", database=str(path)),
        pool_size=READERS + 2,
        connect_args={"check_same_thread": False, "timeout": WAIT_SECONDS},
    )
    event.listen(engine, "connect", _prepare)
    return Backend(engine, "BEGIN IMMEDIATE", "BEGIN", path)


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver's own BEGIN is switched off: we say BEGIN IMMEDIATE or BEGIN ourselves, because
    # a deferred transaction that turns into a writer can fail with "database is locked".
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON",
        f"busy_timeout={WAIT_SECONDS * 1000}", "temp_store=MEMORY",
    ):  # fmt: skip
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def postgresql(url: str, password_file: Path | None = None) -> Backend:
    """Return a PostgreSQL database.

    Writers take an advisory lock first, as SQLite's ``BEGIN IMMEDIATE`` does for its file: what is
    right with one writer is right here, and events are numbered in the order of their commits.

    Parameters
    ----------
    url : str
        ``postgresql://user@host:5432/database``, without a password.
    password_file : pathlib.Path or None
        Holds the password, and is read for each connection, so that a new one needs no restart.
        Without it libpq's own ways hold: ``$PGPASSWORD``, ``$PGPASSFILE``.

    Raises
    ------
    BadDatabase
        The URL is another database's, or the driver is not installed.
    """
    found = parse(url).set(drivername="postgresql+psycopg")

    def arguments(**options: int) -> dict[str, Any]:
        _, given = engine.dialect.create_connect_args(found)
        given.pop("context", None)  # SQLAlchemy's own types
        return {**given, **_connecting(password_file, options)}

    lasting = {"lock_timeout": WAIT_SECONDS, "idle_in_transaction_session_timeout": IDLE_SECONDS}
    engine = _engine(found, password_file, READERS + 2, lasting)
    spare = _engine(found, password_file, 1, {"statement_timeout": SPARE_SECONDS})
    lock = f"SELECT pg_advisory_xact_lock({WRITE_LOCK})"
    only_read = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
    return Backend(engine, lock, only_read, None, spare, arguments)


def _engine(url: URL, password_file: Path | None, pool: int, options: dict[str, int]) -> Engine:
    try:
        engine = create_engine(url, pool_size=pool, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise BadDatabase(
            "PostgreSQL needs the driver psycopg, which is not installed.",
            hint="Install nablahub[postgresql].",
        ) from error

    def connecting(_dialect: Any, _record: Any, _args: Any, given: dict[str, Any]) -> None:
        given |= _connecting(password_file, options)

    event.listen(engine, "do_connect", connecting)
    return engine


def _connecting(password_file: Path | None, options: dict[str, int]) -> dict[str, Any]:
    """Return what a connection is made with; the options are in seconds."""
    password = {} if password_file is None else {"password": read_password(password_file)}
    return {
        "options": " ".join(f"-c {name}={value * 1000}" for name, value in options.items()),
        "connect_timeout": options.get("statement_timeout", WAIT_SECONDS),
        # A machine that went away without a word is noticed within half a minute.
        "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
        "tcp_user_timeout": 20_000,
        "application_name": "nablahub",
        **password,
    }  # fmt: skip


def parse(url: str) -> URL:
    """Read the URL of a PostgreSQL database; BadDatabase says what is wrong with it."""
    try:
        found = make_url(url)
    except ArgumentError as error:
        raise BadDatabase(
            "The URL of the database cannot be read.",
            hint="It looks like postgresql://user@host:5432/database.",
        ) from error
    if found.drivername not in ("postgresql", "postgresql+psycopg") or not found.database:
        raise BadDatabase(
            f"The database must be PostgreSQL, not {found.drivername}, and have a name.",
            hint="The URL looks like postgresql://user@host:5432/database; without one, SQLite in "
            "the state directory is used.",
        )
    if found.password is not None or "password" in found.query:
        raise BadDatabase(
            "The URL of the database holds a password, which would be shown with the settings.",
            hint="Leave it out; name a file that holds it in database_password_file, or set "
            "$PGPASSWORD.",
        )
    return found


def read_password(file: Path) -> str:
    """Return the password in a file; BadDatabase when it cannot be read."""
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise BadDatabase(
            f"The database's password cannot be read: {error.strerror}: {file}.",
            hint="database_password_file names the file.",
        ) from error


@contextmanager
def told() -> Iterator[None]:
    """Turn a database's own errors into ours, where they are not our fault.

    Raises
    ------
    StorageFull
        Its disk is full.
    Unavailable
        It does not answer, or others held it up for too long.
    Invalid
        A value is none that it can hold, such as a text with a null character.
    """
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        if _full(error):
            raise StorageFull(
                "The disk that holds the hub's state is full; nothing was stored.",
                hint="Free some space (an administrator can look at `nablahub status`), then "
                "try again.",
            ) from error
        if isinstance(error.orig, sqlite3.Error):
            raise
        raise Unavailable(
            "The database does not answer.",
            hint="Try again in a few seconds; the service's log says more.",
        ) from error
    except DataError as error:
        raise Invalid(
            "The database cannot hold a value of the request: it is too long, or no plain text."
        ) from error


def _full(error: DBAPIError) -> bool:
    # 53100 is PostgreSQL's disk_full (its manual, appendix A).
    return getattr(error.orig, "sqlstate", None) == "53100" or (
        isinstance(error.orig, sqlite3.Error) and bool(DISK_FULL.search(str(error.orig)))
    )
