"""Schema changes: Alembic, one branch of revisions for each extension, one tree in all.

At its start the service copies the file when there is something to change, then migrates in one
transaction; when that fails the file is as it was, and the error says where the copy lies.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from nablahub.core.database import Base, Database, full_disk
from nablahub.core.errors import NablaError
from nablahub.core.extension import Extension, load

KEEP_BACKUPS = 5


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
        When the file is newer than this release or a revision fails; nothing was changed.
    StorageFull
        When there is no room for the copy.
    """
    directory = scripts(extensions)
    with full_disk(), database.engine.connect() as connection:
        current = set(MigrationContext.configure(connection).get_current_heads())
        connection.rollback()
    known = {script.revision for script in directory.walk_revisions()}
    if not current <= known:
        raise MigrationFailed(
            "The database was written by a newer NablaHub or by an extension that is missing "
            f"(unknown revisions: {', '.join(sorted(current - known))}).",
            hint=f"Install that release again, or put back a copy from {backups}.",
        )
    before = _reached(directory, current)
    if before == known:
        return []
    copy = backup(database.path, backups) if current else None
    try:
        with full_disk(), database.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _upgrade(connection, directory)
            connection.commit()
    except NablaError:
        raise
    except Exception as error:
        raise MigrationFailed(
            f"The database could not be brought up to date: {error}. It was left as it was.",
            hint=f"The copy made before lies at {copy}." if copy else "Report this, please.",
        ) from error
    return sorted(known - before)


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
