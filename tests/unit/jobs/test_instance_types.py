"""Instance types while the service runs: what is offered, to whom, for how long, and what stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nablahub.core.errors import Forbidden, Invalid
from nablahub.core.transport import Transport
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.cli_instances import instances as command
from nablahub.jobs.errors import InstanceNotAllowed, UnknownInstanceType
from nablahub.jobs.store import JobRow
from nablahub.jobs.types import JobSpec
from nablahub.projects.api import ProjectsAPI
from tests.unit.jobs.conftest import Jobs, Life, until

SMALL = "cpus: 1, memory_gib: 0.5"


@pytest.fixture
def file(shared: Life) -> Iterator[Path]:
    """The administrator's file, gone after the test."""
    path = shared.service.state.instance_types
    yield path
    path.unlink(missing_ok=True)


def listed(hub: Transport) -> dict[str, dict[str, Any]]:
    return {item["name"]: item for item in hub.get("/instance-types")["items"]}


def test_an_edited_file_is_in_force_at_once(jobs: Jobs, file: Path) -> None:
    hub = jobs.service.transport()
    assert "tiny" not in listed(hub)
    file.write_text(f"types: {{tiny: {{{SMALL}, price: 0.01, max_hours: 2}}}}")
    found = listed(hub)["tiny"]
    assert (found["available"], found["price"], found["max_hours"]) == (True, 0.01, 2)
    assert jobs.shell("echo hello", instance_type="tiny").state == "Succeeded"
    file.write_text("offered: [C3, C4]")
    assert list(listed(hub)) == ["C3", "C4"]
    with pytest.raises(UnknownInstanceType) as caught:
        jobs.submit("true", instance_type="tiny")
    assert "All: C3, C4." in caught.value.errors[0].hint


def test_who_may_not_take_a_type_is_told_why_and_what_fits(jobs: Jobs, file: Path) -> None:
    file.write_text(f"types: {{tiny: {{{SMALL}, users: [bob], groups: [research]}}}}")
    with pytest.raises(InstanceNotAllowed) as caught:
        jobs.submit("true", instance_type="tiny")
    assert caught.value.detail == (
        "The instance type tiny is not to be had: It is kept for members of the group research."
    )
    assert isinstance(caught.value, Forbidden)
    (fault,) = caught.value.errors
    assert (fault.pointer, "fits" in fault.hint) == ("/instance_type", True)
    assert listed(jobs.service.transport())["tiny"]["reason"] == (
        "It is kept for members of the group research."
    )
    jobs.service.fake.add("dora", groups=["research"])
    for name in ("bob", "dora"):
        hub = jobs.service.transport(name)
        assert listed(hub)["tiny"]["available"]
        project = ProjectsAPI(hub).create("theirs").id
        spec = JobSpec(project_id=project, command=["true"], instance_type="tiny")
        assert JobsAPI(hub).wait(JobsAPI(hub).submit(spec).id).state == "Succeeded"


def test_a_job_may_take_what_its_user_may(jobs: Jobs, file: Path) -> None:
    file.write_text(f"types: {{tiny: {{{SMALL}, groups: [research]}}}}")
    jobs.service.fake.add("emma", groups=["research"])
    hub = jobs.service.transport("emma")
    project = ProjectsAPI(hub).create("hers").id
    ask = (
        "import json, os, urllib.request as u\n"
        "q = u.Request(os.environ['NABLAHUB_URL'] + '/api/v1/instance-types',"
        " headers={'Authorization': 'Bearer ' + os.environ['NABLAHUB_TOKEN']})\n"
        "print({i['name']: i['available'] for i in json.load(u.urlopen(q))['items']}['tiny'])"
    )
    spec = JobSpec(project_id=project, command=["python", "-c", ask])
    api = JobsAPI(hub)
    done = api.wait(api.submit(spec).id)
    assert api.log(done.id) == "True\n"


def test_the_longest_run_of_a_type_ends_a_job_and_says_so(jobs: Jobs, file: Path) -> None:
    file.write_text(f"types: {{tiny: {{{SMALL}, max_hours: 0.000250}}}}")
    for timeout in (None, 3600.0):
        job = jobs.shell("sleep 600", instance_type="tiny", timeout_seconds=timeout)
        assert (job.state, job.reason) == ("Failed", "timeout")
        assert job.message == (
            "It was ended after 0.9 seconds, the longest run of the instance type tiny."
        )
    job = jobs.shell("sleep 600", instance_type="tiny", timeout_seconds=0.2)
    assert job.message == "It ran longer than its limit of 0.2 s."


def test_a_server_that_shall_never_end_takes_no_type_with_an_end(jobs: Jobs) -> None:
    with pytest.raises(InstanceNotAllowed) as caught:
        jobs.submit("true", kind="serve", instance_type="Free-CPU")
    assert caught.value.detail == (
        "The instance type Free-CPU is not to be had: It runs at most 6 hours, and a deployment "
        "does not end by itself."
    )


def test_a_job_keeps_the_type_it_was_given_when_that_vanishes(life: Life) -> None:
    file = life.service.state.instance_types
    file.write_text(f"types: {{tiny: {{{SMALL}}}}}")
    job = life.jobs.submit(
        "sh", "-c", "until [ -e /storage/go ]; do sleep 0.05; done", instance_type="tiny"
    )
    until(life.jobs, job.id, lambda j: j["state"] == "Running")
    file.write_text("offered: [C4]")
    assert life.jobs.api.get(job.id).instance_type == "tiny"
    life.service.stop()
    kept = life.rows(lambda s: s.get_one(JobRow, job.id).spec["instance"])
    assert (kept["cpus"], kept["memory_gib"]) == (1, 0.5)
    life.begin()
    (life.storage() / "go").touch()
    assert life.jobs.api.wait(job.id).state == "Succeeded"


def test_a_job_stored_before_types_were_pinned_goes_on(life: Life) -> None:
    job = life.jobs.submit(
        "sh", "-c", "until [ -e /storage/go ]; do sleep 0.05; done", instance_type="C3"
    )
    until(life.jobs, job.id, lambda j: j["state"] == "Running")
    life.service.stop()

    def as_before(session: Any) -> None:
        row = session.get_one(JobRow, job.id)
        row.spec = {k: v for k, v in row.spec.items() if k not in ("instance", "groups")}

    life.rows(as_before)
    life.begin()
    (life.storage() / "go").touch()
    assert life.jobs.api.wait(job.id).state == "Succeeded"


def test_nobody_sends_the_numbers_of_a_type_along(jobs: Jobs) -> None:
    body = {"project_id": jobs.project, "command": ["true"], "instance": {"name": "C4"}}
    with pytest.raises(Invalid):
        jobs.service.transport().post("/jobs", body)


def test_a_broken_edit_is_told_to_administrators_alone(jobs: Jobs, file: Path) -> None:
    file.write_text(f"types: {{tiny: {{{SMALL}}}}}")
    assert "tiny" in listed(jobs.service.transport())
    file.write_text(f"types:\n  tiny: {{{SMALL}, price: -1}}")
    jobs.service.fake.add("root", admin=True)
    answer = jobs.service.transport("root").get("/instance-types")
    assert answer["warning"] == (
        f"{file} cannot be used: it has a fault: "
        "line 2, column 43: 'price' must be at least 0, not -1."
    )
    assert "tiny" in {item["name"] for item in answer["items"]}
    assert jobs.service.transport().get("/instance-types")["warning"] is None


# `nablahub instances`.


def run(jobs: Jobs, name: str, *words: str) -> Result:
    env = {"NABLAHUB_URL": jobs.service.url, "NABLAHUB_TOKEN": f"token-of-{name}", "COLUMNS": "200"}
    return CliRunner().invoke(command, words, env=env)


def test_the_list_shows_what_can_be_had_and_with_all_the_rest(jobs: Jobs, file: Path) -> None:
    file.write_text("types: {H100: {groups: [research]}}")
    done = run(jobs, "alice", "list")
    assert done.exit_code == 0
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows[0] == ["NAME", "GIVES", "$/H", "LIMITS", "STARTS"]
    assert ["Free-CPU", "2", "CPUs", "·", "4", "GiB", "0", "6", "h,", "60", "min", "idle"] in [
        row[:12] for row in rows
    ]
    assert "H100" not in done.stdout
    assert "--all shows them, and why." in done.stderr
    assert "members of the group research" in run(jobs, "alice", "list", "--all").stdout


def test_an_administrator_is_warned_of_a_broken_file(jobs: Jobs, file: Path) -> None:
    file.write_text("types: {C4: {cpus: 0}}")
    jobs.service.fake.add("root", admin=True)
    done = run(jobs, "root", "list", "--json")
    assert "line 1, column 20" in done.stderr
    assert "line 1, column 20" in json.loads(done.stdout)["warning"]


def test_a_file_is_checked_without_a_hub(tmp_path: Path) -> None:
    path = tmp_path / "types.yaml"
    path.write_text(f"offered: [C4, tiny]\ntypes: {{tiny: {{{SMALL}}}, C4: {{price: 1}}}}")
    done = CliRunner().invoke(command, ["check", str(path)])
    assert done.exit_code == 0
    assert done.stdout.splitlines()[:3] == [
        f"{path} is sound: 2 instance types are offered.", "New: tiny.", "Changed: C4.",
    ]  # fmt: skip
    path.write_text("types:\n  C4: {cpu: 1}\n  tiny: {cpus: 1}\n")
    done = CliRunner().invoke(command, ["check", str(path), "--json"])
    assert done.exit_code == 1
    assert [error["line"] for error in json.loads(done.stdout)["error"]["errors"]] == [2, 3]
    assert "line 2, column 8: The key 'cpu' is unknown here. Did you mean 'cpus'?" in done.stderr
