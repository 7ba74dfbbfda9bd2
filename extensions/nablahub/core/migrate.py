"""Schema changes: Alembic, one branch of revisions for each extension, one tree in all.

The service migrates in one transaction, and copies a SQLite file before; when that fails the
database is as it was, and the error says where the copy lies.

Every schema can be read by the release before, so that a rollback needs no other data: a migration
adds, and what it makes superfluous goes a release later, with a higher :data:`EPOCH`. A release
that meets revisions it does not know works on them when all of its own were applied and none of
the others has an epoch that it is too old for.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Integer, String, Table, insert, inspect, select, text
from sqlalchemy.orm import Mapped, mapped_column

from nablahub.core.database import Base, Database
from nablahub.core.engines import told
from nablahub.core.errors import NablaError
from nablahub.core.extension import Extension, load

KEEP_BACKUPS = 5
#: Raised with the first migration that removes what an earlier release but the last one reads.
EPOCH = 1
#: How long a migration of PostgreSQL waits for transactions that are under way.
WAIT = "60s"


class RevisionRow(Base):
    """A revision that was applied, and the epoch of the release that applied it."""

    __tablename__ = "schema_history"

    revision: Mapped[str] = mapped_column(String(64), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer)


_HISTORY = cast("Table", RevisionRow.__table__)


class MigrationFailed(NablaError):
    """The database could not be brought to this release's schema."""

    code = "migration_failed"


def folders(extensions: Sequence[Extension]) -> list[Path]:
    """Return the folders with revisions: core's first, then each extension's."""
    names = ["nablahub.core.migrations"]
    names += [extension.migrations for extension in extensions if extension.migrations]
    return [Path(str(load(name).__path__[0])) for name in names]


def scripts(extensions: Sequence[Extension]) -> ScriptDirectory:
    """Return Alembic's view of all revisions."""
    places = folders(extensions)
    config = Config()
    config.set_main_option("script_location", str(places[0]).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    config.set_main_option(
        "version_locations", "\n".join(str(place).replace("%", "%%") for place in places)
    )
    return ScriptDirectory.from_config(config)


def backup(database: Path, folder: Path) -> Path:
    """Copy the database file consistently and return the copy's path; old copies go."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    target = folder / f"{database.stem}-{stamp}.sqlite"
    with sqlite3.connect(database) as source, sqlite3.connect(target) as copy:
        source.backup(copy)
    source.close()
    copy.close()
    target.chmod(0o600)
    for old in sorted(folder.glob("*.sqlite"))[:-KEEP_BACKUPS]:
        old.unlink()
    return target


def migrate(database: Database, extensions: Sequence[Extension], backups: Path) -> list[str]:
    """Bring the database to the newest schema and return the revisions that were applied.

    Raises
    ------
    MigrationFailed
        When it is too new for this release or a revision fails; nothing was changed.
    StorageFull
        When there is no room for the copy.
    """
    directory = scripts(extensions)
    missing = outdated(database, directory, backups)
    if not missing:
        return []
    copy = None
    if database.backend.file is not None and _heads(database):
        copy = backup(database.backend.file, backups)
    try:
        with told(), database.engine.connect() as connection:
            _begin(connection, database)
            _upgrade(connection, directory)
            _note(connection, directory)
            connection.commit()
    except NablaError:
        raise
    except Exception as error:
        raise MigrationFailed(
            f"The database could not be brought up to date: {error}. It was left as it was.",
            hint=f"The copy made before lies at {copy}." if copy else "Report this, please.",
        ) from error
    return sorted(missing)


def check(database: Database, extensions: Sequence[Extension], backups: Path) -> None:
    """Raise MigrationFailed unless this release can work on the database as it is."""
    missing = outdated(database, scripts(extensions), backups)
    if missing:
        raise MigrationFailed(
            f"The database lacks revisions of this release: {', '.join(sorted(missing))}.",
            hint="Run `python -m nablahub.service --state-dir DIR --migrate`, as the chart's hook "
            "does before each upgrade.",
        )


def outdated(database: Database, directory: ScriptDirectory, backups: Path) -> set[str]:
    """Return this release's revisions that the database lacks.

    Raises
    ------
    MigrationFailed
        It has revisions that this release cannot work on.
    """
    current = _heads(database)
    known = {script.revision for script in directory.walk_revisions()}
    unknown = current - known
    if not unknown:
        return known - _reached(directory, current)
    applied = _history(database)
    missing = known - set(applied)
    old_enough = all(applied.get(revision, EPOCH + 1) <= EPOCH for revision in unknown)
    if missing or not old_enough:
        raise MigrationFailed(
            "The database was written by a newer NablaHub or by an extension that is missing "
            f"(unknown revisions: {', '.join(sorted(unknown))}).",
            hint="Install that release again, or put back a copy"
            + (f" from {backups}." if database.backend.file else " that was made before."),
        )
    return set()


def _heads(database: Database) -> set[str]:
    with told(), database.engine.connect() as connection:
        return set(MigrationContext.configure(connection).get_current_heads())


def _history(database: Database) -> dict[str, int]:
    with told(), database.engine.connect() as connection:
        if not inspect(connection).has_table(_HISTORY.name):
            return {}
        rows = connection.execute(select(_HISTORY.c.revision, _HISTORY.c.epoch))
        return dict(rows.all())


def _begin(connection: Connection, database: Database) -> None:
    """Begin to write: of several processes that migrate at once one does it, the others wait."""
    if database.shared:
        connection.execute(text(f"SET LOCAL lock_timeout = '{WAIT}'"))
    connection.exec_driver_sql(database.backend.write)


def _note(connection: Connection, directory: ScriptDirectory) -> None:
    """Note what this release has now applied, for one that knows less."""
    known = sorted(script.revision for script in directory.walk_revisions())
    old = set(connection.scalars(select(_HISTORY.c.revision)))
    rows = [{"revision": name, "epoch": EPOCH} for name in known if name not in old]
    if rows:
        connection.execute(insert(_HISTORY), rows)


def _reached(directory: ScriptDirectory, heads: set[str]) -> set[str]:
    """Return the heads and all below them: Alembic keeps no row for what another depends on."""
    reached: set[str] = set()
    todo = list(heads)
    while todo:
        script = directory.get_revision(todo.pop())
        if script.revision not in reached:
            reached.add(script.revision)
            todo.extend(script._all_down_revisions)
    return reached


def _upgrade(connection: Connection, directory: ScriptDirectory) -> None:
    def upgrade(revision: object, _context: MigrationContext) -> list[object]:
        # Alembic's own steps from what is there to all heads.
        return list(directory._upgrade_revs("heads", revision))  # type: ignore[arg-type]

    environment = EnvironmentContext(Config(), directory)
    environment.configure(
        connection=connection, target_metadata=Base.metadata, fn=upgrade, render_as_batch=True,
        transactional_ddl=False,
    )  # fmt: skip
    with environment:
        environment.run_migrations()


def free_bytes(folder: Path) -> int:
    """Return how many bytes an ordinary user may still write on the folder's disk."""
    return shutil.disk_usage(folder).free
