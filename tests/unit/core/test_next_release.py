"""A rollback: this release on a database that the next one has migrated."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub.core import migrate as schema
from nablahub.core.extension import Extension, discover
from nablahub.core.migrate import MigrationFailed, migrate
from nablahub.core.settings import Settings
from nablahub.service.app import database_of
from tests.support import databases
from tests.support.service import running

NEXT = """
import sqlalchemy as sa
from alembic import op

revision, down_revision, branch_labels, depends_on = "next_0001", None, ("next",), {needs}


def upgrade():
    op.create_table("next_things", sa.Column("id", sa.Integer(), primary_key=True))
    op.add_column("projects", sa.Column("colour", sa.String(32), nullable=True))
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A state directory, and its database chosen."""
    folder = tmp_path / "state"
    if request.param == "postgresql":
        with databases.postgresql():
            databases.settings(folder)
    return folder


@pytest.fixture
def following(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Extension]:
    """What the next release adds."""
    name = f"next_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / "path" / name
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "next_0001.py").write_text(NEXT.format(needs=("projects_0001",)))
    monkeypatch.syspath_prepend(folder.parent)
    yield Extension("next", migrations=name)
    sys.modules.pop(name, None)


def upgrade(root: Path, extensions: list[Extension], settings: Settings) -> list[str]:
    """Migrate as the release with these extensions does."""
    database = database_of(settings)
    try:
        return migrate(database, extensions, root / "backups")
    finally:
        database.close()


def test_this_release_works_on_the_next_ones_schema(root: Path, following: Extension) -> None:
    with running(root) as before:
        kept = before.hub().projects.create("kept")
        settings = before.settings
    assert upgrade(root, [*discover(), following], settings) == ["next_0001"]
    with running(root) as after:
        assert [p.id for p in after.hub().projects.list()] == [kept.id]
        after.hub().projects.create("more")
    assert upgrade(root, [*discover(), following], settings) == []


def test_a_schema_of_a_later_epoch_is_refused(
    root: Path, following: Extension, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(root) as before:
        settings = before.settings
    monkeypatch.setattr(schema, "EPOCH", schema.EPOCH + 1)
    upgrade(root, [*discover(), following], settings)
    monkeypatch.setattr(schema, "EPOCH", schema.EPOCH - 1)
    with pytest.raises(MigrationFailed, match="next_0001"):
        upgrade(root, discover(), settings)
