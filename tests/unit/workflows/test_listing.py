"""Lists of runs: a page costs the same, however many runs there are."""

from __future__ import annotations

import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from nablahub.core.times import now
from nablahub.jobs.runners.process.shutdown import end_all
from nablahub.workflows.store import RunRow
from tests.support.pages import steps
from tests.support.service import RunningService, running

SPEC = """\
name: steps
jobs:
  a:
    uses: script@v1
    with: {script: "true"}
"""


def runs(service: RunningService, workflow: str, first: int, count: int) -> None:
    """Add runs that were cancelled, each a second older."""
    wire = service.hub("dora").workflows.get(workflow)

    def work(session: Session) -> None:
        at = now()
        for number in range(first, first + count):
            session.add(RunRow(
                uuid=str(uuid.uuid4()), workflow_id=workflow, number=number, team_id=wire.team_id,
                project_id=wire.project_id, spec={}, files={}, inputs={}, bound={}, outputs={},
                cancel_asked=True, state="Canceled", reason="", message="", created_by="dora",
                created_at=at - timedelta(seconds=number), finished_at=at,
            ))  # fmt: skip

    service.service.database.write_sync(work)


def test_a_page_costs_the_same_however_many_runs_there_are(tmp_path: Path) -> None:
    with running(tmp_path / "hub", allow_private_addresses=True) as service:
        service.fake.add("dora", groups=["vision", "research"])
        hub = service.hub("dora")
        projects = [
            hub.projects.create(team, team=team).id for team in ("dora", "vision", "research")
        ]
        flows = [hub.workflows.apply(project, SPEC).id for project in projects]
        asked: list[dict[str, Any]] = [{}, {"project": projects[1]}]
        found: list[list[int]] = []
        for first, count in ((1, 100), (101, 1900)):
            for flow in flows:
                runs(service, flow, first, count)
            found.append([steps(service, "/runs", "workflow_runs", **each) for each in asked])
        few, many = found
        assert all(now <= 1.2 * then for then, now in zip(few, many, strict=True)), found
    end_all(service.state)
