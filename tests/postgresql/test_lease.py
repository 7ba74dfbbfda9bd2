"""The lease and the schema on PostgreSQL, with two that want them at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.orm import Session

from nablahub.core.database import Base, Database, acting
from nablahub.core.engines import postgresql
from nablahub.core.errors import Invalid, Unavailable
from nablahub.core.extension import discover, load
from nablahub.core.lease import Lease, LeaseLost
from nablahub.core.migrate import MigrationFailed, check, migrate
from tests.support import postgres
from tests.support.waiting import until

TTL = 4.0


class Place:
    """One database and those connected to it."""

    def __init__(self) -> None:
        self.url = postgres.shared().new()
        self.opened: list[Database] = []

    def open(self) -> Database:
        """Return one more process' view of it."""
        made = Database(postgresql(self.url, postgres.shared().password_file))
        self.opened.append(made)
        return made


@pytest.fixture
def place() -> Iterator[Place]:
    made = Place()
    yield made
    for database in made.opened:
        database.close()


@pytest.fixture
def migrated(place: Place, tmp_path: Path) -> Place:
    migrate(place.open(), discover(), tmp_path)
    return place


def write(database: Database, seen: list[int]) -> None:
    """Write as a step does."""
    before = acting.set(True)
    try:
        database.write_sync(lambda s: seen.append(s.scalar(text("SELECT 1")) or 0))
    finally:
        acting.reset(before)


def test_one_leads_and_who_lost_the_lease_writes_nothing(migrated: Place) -> None:
    databases = [migrated.open(), migrated.open()]
    leases = [Lease(d, f"http://{n}", ttl=TTL) for n, d in enumerate(databases)]
    won = [threading.Event(), threading.Event()]
    leases[0].start(won[0].set)
    assert won[0].wait(30)
    leases[1].start(won[1].set)
    seen: list[int] = []
    write(databases[0], seen)
    with pytest.raises(LeaseLost):
        write(databases[1], seen)
    assert not won[1].is_set()

    # It cannot renew any more, as when the network is cut; nobody told it so.
    leases[0]._ending.set()
    assert won[1].wait(30)
    assert not leases[0].held
    assert leases[0].lost
    with pytest.raises(LeaseLost):
        write(databases[0], seen)
    write(databases[1], seen)
    assert seen == [1, 1]
    assert databases[0].read_sync(leases[0].leader) == "http://1"
    leases[1].stop()
    with pytest.raises(Unavailable):
        databases[0].read_sync(leases[0].leader)


def test_a_leader_has_stopped_before_another_one_starts(migrated: Place) -> None:
    first, second = (Lease(migrated.open(), f"http://{n}", ttl=TTL) for n in range(2))
    ready, taken = threading.Event(), threading.Event()
    first.start(ready.set)
    assert ready.wait(30)
    first._ending.set()
    held: list[bool] = []
    second.start(lambda: (held.append(first.held), taken.set())[1])  # type: ignore[func-returns-value]
    assert taken.wait(30)
    assert held == [False]
    second.stop()


def test_a_writer_waits_for_the_other_process_and_sees_what_it_wrote(migrated: Place) -> None:
    databases = [migrated.open(), migrated.open()]
    databases[0].write_sync(lambda s: s.execute(text("CREATE TABLE n (v INT)")))
    databases[0].write_sync(lambda s: s.execute(text("INSERT INTO n VALUES (0)")))

    def add(session: Session) -> None:
        found = session.scalar(text("SELECT v FROM n"))
        session.execute(text("UPDATE n SET v = :v"), {"v": (found or 0) + 1})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: databases[i % 2].write_sync(add), range(60)))
    assert databases[0].read_sync(lambda s: s.scalar(text("SELECT v FROM n"))) == 60


def test_who_only_reads_cannot_write(migrated: Place) -> None:
    with pytest.raises(Exception, match="read-only transaction"):
        migrated.open().read_sync(lambda s: s.execute(text("DELETE FROM wakes")))


def test_a_text_that_it_cannot_hold_is_the_requests_fault(migrated: Place) -> None:
    statement = text("SELECT CAST(:t AS TEXT)")
    with pytest.raises(Invalid, match="cannot hold a value"):
        migrated.open().read_sync(lambda s: s.execute(statement, {"t": "a\0b"}))


def test_several_that_migrate_at_once_migrate_once(place: Place, tmp_path: Path) -> None:
    databases = [place.open() for _ in range(4)]
    extensions = discover()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda d: migrate(d, extensions, tmp_path), databases))
    check(databases[0], extensions, tmp_path)
    rows = databases[0].read_sync(
        lambda s: list(s.scalars(text("SELECT version_num FROM alembic_version")))
    )
    assert "core_0002" in rows
    assert len(rows) == len(set(rows))


def test_the_migrated_schema_is_what_the_tables_say(migrated: Place) -> None:
    for module in ("events", "idempotency", "lease", "wakes"):
        load(f"nablahub.core.{module}")
    for extension in discover():
        if extension.tables is not None:
            load(extension.tables)
    with migrated.open().engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_an_empty_database_is_refused_where_a_hook_migrates(place: Place, tmp_path: Path) -> None:
    with pytest.raises(MigrationFailed, match="--migrate"):
        check(place.open(), discover(), tmp_path)


def test_a_database_that_does_not_answer_is_said_so() -> None:
    with postgres.own() as server:
        database = Database(postgresql(server.new(), server.password_file))
        assert database.read_sync(lambda s: s.scalar(text("SELECT 1"))) == 1
        server.halt()
        with pytest.raises(Unavailable, match="does not answer"):
            database.read_sync(lambda s: s.scalar(text("SELECT 1")))
        database.close()


def test_a_connection_that_was_cut_is_made_anew(migrated: Place) -> None:
    database = migrated.open()
    database.read_sync(lambda s: s.execute(text("SELECT 1")))
    cut = text(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE pid <> pg_backend_pid() AND datname = current_database()"
    )
    migrated.open().read_sync(lambda s: s.execute(cut))
    assert until(
        lambda: database.read_sync(lambda s: s.scalar(text("SELECT 1"))) == 1, "it reads again"
    )
