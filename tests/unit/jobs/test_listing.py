"""Lists of jobs: a page costs the same, however many jobs there are."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from nablahub.core.ids import new_id
from nablahub.jobs.store import JobRow
from nablahub.projects.api import ProjectsAPI
from tests.support.pages import steps
from tests.unit.jobs.conftest import Life


def copies(life: Life, job: str, project: str, count: int) -> None:
    """Add jobs that are as one that has ended, in a project of dora's, each a second older."""
    team = life.transport("dora").get(f"/projects/{project}")["team_id"]

    def work(session: Session) -> None:
        given = session.get_one(JobRow, job)
        fields = {column.key: getattr(given, column.key) for column in JobRow.__table__.columns}
        for number in range(count):
            own = {
                "id": new_id("job"), "team_id": team, "project_id": project,
                "created_at": given.created_at - timedelta(seconds=number),
            }  # fmt: skip
            session.add(JobRow(**fields | own))

    life.service.service.database.write_sync(work)


def test_a_page_costs_the_same_however_many_jobs_there_are(life: Life) -> None:
    life.service.fake.add("dora", groups=["vision", "research"])
    done = life.jobs.shell("true").id
    api = ProjectsAPI(life.transport("dora"))
    projects = [api.create(team, team=team).id for team in ("dora", "vision", "research")]
    asked: list[dict[str, Any]] = [{}, {"project": projects[1]}]
    found: list[list[int]] = []
    for count in (100, 1900):
        for project in projects:
            copies(life, done, project, count)
        found.append([steps(life.service, "/jobs", "jobs", **each) for each in asked])
    few, many = found
    assert all(now <= 1.2 * then for then, now in zip(few, many, strict=True)), found
