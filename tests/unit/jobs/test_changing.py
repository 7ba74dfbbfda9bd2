"""Storing a change of a job that somebody else may have changed since it was read."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from nablahub.core.database import Database
from nablahub.core.migrate import migrate
from nablahub.core.times import now
from nablahub.jobs.changing import advance
from nablahub.jobs.errors import TransitionRefused
from nablahub.jobs.rules import Change
from nablahub.jobs.store import JobRow
from nablahub.projects.store import ProjectRow
from nablahub.teams.store import TeamRow
from tests.unit.jobs.conftest import EXTENSIONS

BEGIN = Change("Provisioned", boot="b")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    found = Database(tmp_path / "test.sqlite")
    migrate(found, EXTENSIONS, tmp_path / "backups")
    at = now()
    team = TeamRow(id="t1", kind="private", name="alice", created_at=at)
    project = ProjectRow(
        id="p1", team_id="t1", name="p", description="", created_by="alice",
        created_at=at, updated_at=at, revision=1,
    )  # fmt: skip
    job = JobRow(
        id="j1", name_key=None, team_id="t1", project_id="p1", owner_kind=None, owner_id=None,
        name="j", kind="task", spec={"command": ["true"]}, wanted="run", wanted_message="",
        state="Pending", reason=None, message="", boot=None, exit_code=None, ready=False,
        address=None, outputs={}, created_by="alice", created_at=at, updated_at=at,
        started_at=None, finished_at=None, revision=1,
    )  # fmt: skip
    for row in (team, project, job):
        found.write_sync(partial(Session.add, instance=row))
    return found


def read(database: Database) -> JobRow:
    return database.read_sync(lambda session: session.get_one(JobRow, "j1"))


def columns(row: JobRow) -> dict[str, object]:
    return {column.name: getattr(row, column.name) for column in JobRow.__table__.columns}


def test_what_is_returned_is_what_is_stored(database: Database) -> None:
    known = read(database)
    row = database.write_sync(lambda s: advance(s, known, BEGIN, message="soon"))
    assert row is not None
    assert (row.state, row.boot, row.message, row.revision) == ("Provisioned", "b", "soon", 2)
    assert columns(row) == columns(read(database))


def test_a_change_of_what_somebody_changed_meanwhile_is_not_stored(database: Database) -> None:
    known = read(database)
    database.write_sync(lambda s: advance(s, known, None, wanted="end"))
    assert database.write_sync(lambda s: advance(s, known, BEGIN)) is None
    assert (read(database).state, read(database).wanted) == ("Pending", "end")


def test_a_change_of_what_was_deleted_meanwhile_is_not_stored(database: Database) -> None:
    known = read(database)
    database.write_sync(lambda s: s.delete(s.get_one(JobRow, "j1")))
    assert database.write_sync(lambda s: advance(s, known, BEGIN)) is None


def test_the_rules_are_asked(database: Database) -> None:
    known = read(database)
    with pytest.raises(TransitionRefused, match="BootBeforeStart"):
        database.write_sync(lambda s: advance(s, known, Change("Provisioned")))
    assert (read(database).state, known.state) == ("Pending", "Pending")
