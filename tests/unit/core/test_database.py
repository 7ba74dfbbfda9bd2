"""Transactions, what follows them, and the schema."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.orm import Session

from nablahub.core.database import Base, Database, after_commit
from nablahub.core.extension import discover, load
from nablahub.core.migrate import MigrationFailed, backup, migrate, scripts


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    found = Database(tmp_path / "test.sqlite")
    found.write_sync(lambda s: s.execute(text("CREATE TABLE t (n INTEGER UNIQUE)")))
    yield found
    found.close()


def count(database: Database) -> int:
    return int(database.read_sync(lambda s: s.execute(text("SELECT count(*) FROM t")).scalar_one()))


async def test_what_raises_leaves_nothing_and_calls_nobody(database: Database) -> None:
    told: list[str] = []

    def work(session: Session) -> None:
        session.execute(text("INSERT INTO t VALUES (1)"))
        after_commit(session, lambda: told.append("committed"))
        raise ValueError("planted")

    with pytest.raises(ValueError, match="planted"):
        await database.write(work)
    assert count(database) == 0
    assert told == []


async def test_callbacks_come_after_the_commit_on_the_loop(database: Database) -> None:
    seen = asyncio.get_running_loop().create_future()

    def work(session: Session) -> None:
        session.execute(text("INSERT INTO t VALUES (1)"))
        after_commit(session, lambda: seen.set_result(count(database)))

    await database.write(work)
    assert await seen == 1


async def test_fifty_writers_and_readers_never_meet_a_lock(database: Database) -> None:
    def add(n: int) -> None:
        database.write_sync(lambda s: s.execute(text("INSERT INTO t VALUES (:n)"), {"n": n}))

    await asyncio.gather(
        *(database.write(lambda s, n=n: s.execute(text("INSERT INTO t VALUES (:n)"), {"n": n}))  # type: ignore[misc]
          for n in range(50)),
        *(asyncio.to_thread(add, 100 + n) for n in range(50)),
        *(database.read(lambda s: s.execute(text("SELECT count(*) FROM t")).scalar_one())
          for _ in range(50)),
    )  # fmt: skip
    assert count(database) == 100


def test_migrated_schema_is_what_the_tables_say(tmp_path: Path) -> None:
    database = Database(tmp_path / "new.sqlite")
    extensions = discover()
    assert migrate(database, extensions, tmp_path / "backups")
    assert migrate(database, extensions, tmp_path / "backups") == []
    load("nablahub.core.events")
    load("nablahub.core.idempotency")
    load("nablahub.core.lease")
    load("nablahub.core.wakes")
    for extension in extensions:
        if extension.tables is not None:
            load(extension.tables)
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": False})
        difference = compare_metadata(context, Base.metadata)
        connection.rollback()
    database.close()
    assert difference == []


def test_every_extension_has_one_head() -> None:
    directory = scripts(discover())
    heads = directory.get_heads()
    branches = {label for head in heads for label in directory.get_revision(head).branch_labels}
    assert len(branches) == len(heads)


def test_a_database_of_a_newer_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = Database(tmp_path / "n.sqlite")
    migrate(database, discover(), tmp_path / "backups")
    database.write_sync(
        lambda s: s.execute(text("INSERT INTO alembic_version VALUES ('from_the_future')"))
    )
    with pytest.raises(MigrationFailed, match=r"newer NablaHub.*from_the_future"):
        migrate(database, discover(), tmp_path / "backups")
    database.close()


def test_a_backup_holds_the_rows(tmp_path: Path, database: Database) -> None:
    database.write_sync(lambda s: s.execute(text("INSERT INTO t VALUES (7)")))
    copy = backup(tmp_path / "test.sqlite", tmp_path / "backups")
    connection = sqlite3.connect(copy)
    assert connection.execute("SELECT n FROM t").fetchall() == [(7,)]
    connection.close()
    for _ in range(7):
        backup(tmp_path / "test.sqlite", tmp_path / "backups")
    assert len(list((tmp_path / "backups").iterdir())) == 5
