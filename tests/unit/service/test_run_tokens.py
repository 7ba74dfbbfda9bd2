"""What a run may do with the token of its job, over the real service."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from sqlalchemy.orm import Session

from nablahub.core.ids import new_id
from nablahub.core.times import now
from nablahub.jobs import tokens
from nablahub.jobs.store import JobRow
from nablahub.jobs.tasks import Tokens
from nablahub.jobs.types import JobSpec
from tests.support.service import RunningService, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state")) as found:
        yield found


def token_of_a_run(service: RunningService, project_id: str, team_id: str) -> str:
    """Return the token of the command of a job that alice started."""
    return tokens_of_a_run(service, project_id, team_id).command


def tokens_of_a_run(service: RunningService, project_id: str, team_id: str) -> Tokens:
    """Return the tokens of a job that alice started."""

    def work(session: Session) -> Tokens:
        at = now()
        spec = JobSpec(project=project_id, command=["true"])  # type: ignore[call-arg]  # its alias
        row = JobRow(
            id=new_id("job"), name_key=None, team_id=team_id, project_id=project_id,
            owner_kind=None, owner_id=None, name="job", kind="task",
            spec=spec.model_dump(mode="json"), wanted="run", wanted_message="", state="Running",
            reason=None, message="", boot=None, exit_code=None, ready=False, address=None,
            outputs={}, created_by="alice", created_at=at, updated_at=at, started_at=at,
            finished_at=None, revision=1,
        )  # fmt: skip
        session.add(row)
        session.flush()
        given = tokens.new(delivered=True)
        tokens.issue(session, row, given)
        return given

    return service.service.database.write_sync(work)


def test_a_run_makes_no_project(service: RunningService) -> None:
    project = service.hub("alice").projects.create("home")
    token = token_of_a_run(service, project.id, project.team_id)
    answer = httpx.post(
        f"{service.url}/api/v1/projects",
        json={"name": "hidden"},
        headers={"Authorization": f"Bearer {token}"},
    )
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert "hidden" not in [found.name for found in service.hub("alice").projects.list()]


def test_a_run_has_idempotency_keys_of_its_own(service: RunningService) -> None:
    project = service.hub("alice").projects.create("keys")
    names = ["token-of-alice"]
    names += [token_of_a_run(service, project.id, project.team_id) for _ in range(2)]
    spec = "jobs: {a: {uses: script@v1, with: {script: 'true'}}}"

    def send(token: str, name: str) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "the same"}
        body = {"project": project.id, "name": name, "spec": spec}
        return httpx.post(f"{service.url}/api/v1/workflows", json=body, headers=headers)

    made = [send(token, f"w{n}") for n, token in enumerate(names)]
    assert [answer.status_code for answer in made] == [201, 201, 201]
    again = [send(token, f"w{n}") for n, token in enumerate(names)]
    assert [a.json()["id"] for a in again] == [a.json()["id"] for a in made]
    assert all(answer.headers["Idempotent-Replayed"] == "true" for answer in again)


def test_a_command_does_not_deliver_and_what_delivers_changes_nothing(
    service: RunningService,
) -> None:
    project = service.hub("alice").projects.create("apart")
    given = tokens_of_a_run(service, project.id, project.team_id)

    def ask(method: str, path: str, token: str, **more: object) -> int:
        headers = {"Authorization": f"Bearer {token}"}
        url = f"{service.url}/api/v1{path}"
        return httpx.request(method, url, headers=headers, **more).status_code  # type: ignore[arg-type]  # httpx's own

    (job,) = ask_jobs(service, project.id)
    log = f"/jobs/{job}/task/log?offset=0"
    assert ask("PUT", log, given.command, content=b"forged") == 403
    assert ask("PUT", log, service.fake.add("alice"), content=b"forged") == 403
    # Here jobs run on the service's own machine: nothing of theirs has to be delivered.
    assert ask("PUT", log, given.delivery, content=b"x") == 404
    assert ask("GET", f"/projects/{project.id}", given.delivery) == 200
    body = {"project": project.id, "name": "d"}
    assert ask("POST", "/datasets", given.delivery, json=body) == 403
    assert ask("POST", "/datasets", given.command, json=body) == 201


def ask_jobs(service: RunningService, project: str) -> list[str]:
    """Return the ids of a project's jobs."""
    found = service.transport("alice").get("/jobs", project=project)
    return [job["id"] for job in found["items"]]
