"""``nablahub workflows`` as a user or a program calls it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update
from sqlalchemy.orm import Session

from nablahub.cli import main
from nablahub.core.times import now
from nablahub.jobs.runners.process.shutdown import end_all
from nablahub.jobs.service import JobService
from nablahub.jobs.store import WorkspaceRow
from nablahub.jobs.workspaces.errors import NoSuchWorkspace
from nablahub.workflows import cli_runs
from nablahub.workflows.store import RunRow
from nablahub.workflows.types import RunJob
from tests.support.environments import FOLDER, environment
from tests.support.held import NO_ROOM, hold_back
from tests.support.service import RunningService, running

SPEC = """\
inputs: {code: {type: string, with: {value: "0"}}}
jobs:
  only:
    uses: script@v1
    inputs: {code: workflow.inputs.code}
    with: {script: "cat greeting.txt; exit $(cat /inputs/code)"}
  then: {uses: script@v1, needs: [only], with: {script: "true"}}
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    environment("default")
    with running(tmp_path_factory.mktemp("hub"), environments_dir=FOLDER) as made:
        made.hub().projects.create("cli")
        yield made
    end_all(made.state)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "greet.yaml").write_text(SPEC)
    (tmp_path / "greeting.txt").write_text("hello from a file\n")
    return tmp_path


class Cli:
    """The command line, connected to the service."""

    def __init__(self, service: RunningService) -> None:
        self._env = {"NABLAHUB_URL": service.url, "NABLAHUB_TOKEN": "token-of-alice"}

    def __call__(self, *words: str | Path, code: int = 0) -> Result:
        result = CliRunner().invoke(main, ["workflows", *map(str, words)], env=self._env)
        assert result.exit_code == code, result.output
        return result

    def json(self, *words: str | Path, code: int = 0) -> Any:
        return json.loads(self(*words, "--json", code=code).stdout)


@pytest.fixture
def cli(service: RunningService) -> Cli:
    return Cli(service)


def apply(cli: Cli, folder: Path) -> Any:
    return cli.json(
        "apply", "-f", folder / "greet.yaml", "--file", folder / "greeting.txt", "--project", "cli"
    )


def test_a_workflow_is_applied_run_watched_and_read(cli: Cli, folder: Path) -> None:
    made = apply(cli, folder)
    assert (made["name"], made["files"], made["revision"]) == ("greet", ["greeting.txt"], 1)
    assert apply(cli, folder)["revision"] == 1
    watched = cli("run", "greet", "--project", "cli", "--watch")
    assert "✓ Succeeded  only" in watched.stderr
    assert "✓ Succeeded" in watched.stdout
    assert cli("logs", "greet", "--job", "only").stdout == "hello from a file\n"
    status = cli.json("status", "greet")
    assert status["state"] == "Succeeded"
    assert [job["name"] for job in status["jobs"]] == ["only", "then"]
    assert cli.json("runs", "greet")[0]["uuid"] == status["uuid"]
    assert "greet" in cli("list", "--project", "cli").stdout


def test_watching_a_run_tells_what_its_jobs_wait_for(
    cli: Cli, folder: Path, service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    team = service.hub().projects.get("cli").team_id
    script = "until [ -e /storage/stop ]; do sleep 0.02; done"
    spec = SPEC.replace("cat greeting.txt; exit $(cat /inputs/code)", script)
    (folder / "greet.yaml").write_text(spec)
    apply(cli, folder)
    line = cli_runs._line

    def told(job: RunJob) -> str:
        if job.message == NO_ROOM:
            (service.state.storage / team / "stop").touch()
        return line(job)

    hold_back(service, monkeypatch)
    monkeypatch.setattr(cli_runs, "_line", told)
    watched = cli("run", "greet", "--watch")
    assert watched.stderr.count(f"◌ Provisioned  only  {NO_ROOM}") == 1


def test_a_failed_run_exits_with_1_and_says_which_job(cli: Cli, folder: Path) -> None:
    apply(cli, folder)
    failed = cli.json("run", "greet", "--input", "code=3", "--watch", code=1)
    assert failed["state"] == "Failed"
    assert [job["state"] for job in failed["jobs"]] == ["Failed", "Skipped"]
    number = str(failed["number"])
    assert "Job 'only' failed" in cli("status", "greet", number).stdout
    assert cli("logs", "greet", number).stdout == "hello from a file\n"
    assert "The run has no job 'onyl'." in cli("logs", "greet", "--job", "onyl", code=1).stderr


def test_faults_are_told_with_file_line_and_column(cli: Cli, folder: Path) -> None:
    spec = folder / "greet.yaml"
    carried = folder / "greeting.txt"
    assert "nothing is wrong" in cli("validate", "-f", spec, "--file", carried).stdout
    spec.write_text(SPEC.replace("script@v1, needs", "scirpt@v1, needs"))
    told = cli("validate", "-f", spec, code=1).stdout
    assert told == f"{spec}:7:16: There is no action 'scirpt@v1'. Did you mean 'script@v1'?\n"
    refused = cli("apply", "-f", spec, "--project", "cli", code=1)
    assert "line 7, column 16" in refused.stderr
    assert cli.json("validate", "-f", spec, code=1)["errors"][0]["line"] == 7
    spec.write_text("jobs: [\n")
    told = cli("validate", "-f", spec, code=1).stderr
    assert [line[:1] for line in told.splitlines()] == ["✗", " "]
    for words in ("line 2, column 1", "expected the node content", "Check quotes"):
        assert told.count(words) == 1
    assert "line 2, column 1" in cli("create", "-f", spec, "--project", "cli", code=1).stderr


def test_wrong_usage_and_unknown_things_have_their_codes(cli: Cli, folder: Path) -> None:
    apply(cli, folder)
    cli("run", "greet", "--input", "code", code=2)
    cli("run", code=2)
    assert "was not found" in cli("run", "nobody", code=1).stderr
    assert cli.json("run", "nobody", code=1)["error"]["code"] == "not_found"
    assert "has no input 'cod'" in cli("run", "greet", "--input", "cod=1", code=1).stderr
    other = folder / "other.yaml"
    other.write_text("jobs: {a: {uses: script@v1, with: {script: x}}}\n")
    made = cli.json("create", "-f", other, "--project", "cli")
    assert made["name"] == "other"
    assert "already" in cli("create", "-f", other, "--project", "cli", code=1).stderr
    assert "has not run yet" in cli("status", "other", code=1).stderr
    assert cli.json("delete", "other")["deleted"] == made["id"]


IN_A_FOLDER = """\
jobs:
  first: {uses: script@v1, with: {script: "cat code.txt carried.txt && echo mine > code.txt"}}
  second: {uses: script@v1, needs: [first], with: {script: "cat code.txt"}}
"""


def test_each_job_of_a_run_begins_in_a_folder_that_goes_with_it(
    service: RunningService, cli: Cli, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "code.txt").write_text("of the folder\n")
    (code / "carried.txt").write_text("lies under what the workflow carries\n")
    (tmp_path / "carried.txt").write_text("carried\n")
    (tmp_path / "folder.yaml").write_text(IN_A_FOLDER)
    spec, carried = tmp_path / "folder.yaml", tmp_path / "carried.txt"
    made = cli.json("create", "-f", spec, "--project", "cli", "--file", carried)
    done = cli.json("run", made["id"], "--workspace", code, "--watch")
    assert done["state"] == "Succeeded", done
    jobs = service.hub().jobs
    logs = [jobs.log(job["job_id"]) for job in done["jobs"]]
    assert logs == ["of the folder\ncarried\n", "of the folder\n"]
    assert done["workspace"] == jobs.get(done["jobs"][0]["job_id"]).workspace
    assert done["workspace"] in cli("status", made["id"], str(done["number"])).output
    # It stays while a run is going on whose next job will need it, however long that takes.
    cells = service.service.context
    workspaces = cells.get(JobService).workspaces
    week = timedelta(days=8)

    def age(session: Session) -> None:
        session.execute(update(WorkspaceRow).values(used_at=now() - week))
        session.execute(update(RunRow).where(RunRow.uuid == done["uuid"]).values(state="Running"))

    cells.database.write_sync(age)
    assert workspaces.collect() == 0

    def end(session: Session) -> None:
        session.execute(update(RunRow).where(RunRow.uuid == done["uuid"]).values(state="Succeeded"))

    cells.database.write_sync(end)
    assert workspaces.collect() == 1
    body = {"inputs": {}, "workspace": done["workspace"]}
    with pytest.raises(NoSuchWorkspace, match="no workspace"):
        service.transport().post(f"/workflows/{made['id']}/runs", body)
