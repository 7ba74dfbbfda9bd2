"""Jobs from submit to end, over the REST API of a real service and in real sandboxes."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from nablahub.core import errors
from nablahub.core.transport import Transport
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.errors import InstanceTooBig, JobRuns, NoSuchJob, UnknownInstanceType
from nablahub.jobs.types import JobSpec
from nablahub.storage.service import StorageService
from tests.support import databases
from tests.support.service import RunningService
from tests.unit.jobs.conftest import EXTENSIONS, Jobs, Life, until


def test_a_job_from_submit_to_its_log(jobs: Jobs) -> None:
    job = jobs.shell("echo hello; pwd; test -d /storage && echo storage")
    assert (job.state, job.reason, job.exit_code) == ("Succeeded", None, 0)
    assert jobs.api.log(job.id) == "hello\n/work\nstorage\n"
    assert jobs.api.log(job.id, offset=6) == "/work\nstorage\n"
    assert job.started_at is not None
    assert job.finished_at is not None
    assert job.created_at <= job.started_at <= job.finished_at


def test_a_failure_tells_code_and_last_words(jobs: Jobs) -> None:
    job = jobs.shell("echo working; echo 'no such column: x' >&2; exit 3")
    assert (job.state, job.reason, job.exit_code) == ("Failed", "code", 3)
    assert job.message == "Its command ended with exit code 3: no such column: x"


def test_the_command_may_choose_its_last_words(jobs: Jobs) -> None:
    job = jobs.shell("echo 'cell 3 failed' > $NABLAHUB_MESSAGE_FILE; echo noise; exit 1")
    assert job.message == "Its command ended with exit code 1: cell 3 failed"


def test_too_long(jobs: Jobs) -> None:
    job = jobs.shell("sleep 60", timeout_seconds=0.2)
    assert (job.state, job.reason, job.exit_code) == ("Failed", "timeout", 143)
    assert "0.2 s" in job.message


def test_python_of_the_environment_and_files_laid_into_work(jobs: Jobs) -> None:
    script = "import numpy, sys, helper; print(helper.answer(), sys.prefix)"
    files = {"main.py": script, "helper.py": "def answer(): return 42"}
    job = jobs.api.wait(jobs.submit("python", "main.py", files=files).id)
    assert jobs.api.log(job.id) == "42 /opt/nablahub/environment\n"


@pytest.mark.parametrize("files", [{"a": "", "a/b": ""}, {"a/b": "", "a": ""}, {"x" * 300: ""}])
def test_files_that_cannot_be_laid_out_end_the_job(jobs: Jobs, files: dict[str, str]) -> None:
    job = jobs.api.wait(jobs.submit("true", files=files).id)
    assert (job.state, job.reason) == ("Error", "start")
    assert "cannot be laid into /work" in job.message


def test_the_command_line_of_nablahub_works_inside_a_job(jobs: Jobs) -> None:
    job = jobs.shell("nablahub jobs show $NABLAHUB_JOB --json")
    assert job.state == "Succeeded", jobs.api.log(job.id)
    seen = json.loads(jobs.api.log(job.id))
    assert seen["id"] == job.id
    assert seen["state"] in ("Provisioned", "Running")  # Which is stored just after it began.


def test_following_gives_the_whole_log_and_the_end(jobs: Jobs) -> None:
    submitted = jobs.submit("sh", "-c", "for i in 1 2 3; do echo é$i; sleep 0.05; done")
    assert "".join(jobs.api.follow(submitted.id)) == "é1\né2\né3\n"
    assert jobs.api.get(submitted.id).state == "Succeeded"
    assert jobs.api.wait(submitted.id) == jobs.api.get(submitted.id)


def test_storage_lasts_from_job_to_job(jobs: Jobs) -> None:
    assert jobs.shell("echo kept > /storage/file").state == "Succeeded"
    again = jobs.shell("cat /storage/file")
    assert jobs.api.log(again.id) == "kept\n"


def test_nothing_of_the_state_folder_is_seen(jobs: Jobs, shared: Life) -> None:
    job = jobs.shell(f"ls '{shared.root}' '{shared.root.parent}' {Path.home()}/.ssh; echo; ls /")
    assert "nablahub.sqlite" not in jobs.api.log(job.id)
    assert "secrets" not in jobs.api.log(job.id)


# Data.


def test_data_flows_from_job_to_job(jobs: Jobs) -> None:
    made = jobs.shell(
        "mkdir /outputs/data/sub; echo 1,2 > /outputs/data/sub/a.csv; printf best > /outputs/word",
        outputs=[
            {"name": "data", "kind": "dataset", "ref": "numbers"},
            {"name": "word", "kind": "string"},
        ],
    )
    assert made.state == "Succeeded", made.message
    assert made.outputs["word"].value == "best"
    version = made.outputs["data"].ref
    assert version is not None
    used = jobs.shell(
        "cat /inputs/in/sub/a.csv; cat /inputs/w; touch /inputs/in/x || echo read-only",
        inputs=[
            {"name": "in", "kind": "dataset", "ref": "numbers"},
            {"name": "w", "kind": "string", "ref": "text"},
        ],
    )
    assert jobs.api.log(used.id).splitlines()[0] == "1,2"
    assert "text" in jobs.api.log(used.id)
    assert "read-only" in jobs.api.log(used.id)
    assert [i.ref for i in used.inputs] == [version, "text"]


def test_a_failed_job_commits_nothing(jobs: Jobs) -> None:
    job = jobs.shell(
        "echo 1 > /outputs/d/a; exit 1", outputs=[{"name": "d", "kind": "dataset", "ref": "never"}]
    )
    assert (job.state, job.outputs) == ("Failed", {})
    [dataset] = jobs.service.transport().pages("/datasets", name="never")
    assert dataset["latest_version"] is None


@pytest.mark.parametrize(
    "script",
    ["true", "ln -s /etc/passwd /outputs/word", "mkdir /outputs/word", "mkfifo /outputs/word"],
)
def test_a_string_that_was_not_written_fails_the_job(jobs: Jobs, script: str) -> None:
    job = jobs.shell(script, outputs=[{"name": "word", "kind": "string"}])
    assert (job.state, job.reason) == ("Failed", "output")
    assert "/outputs/word" in job.message


# What is refused at submit.


def test_everything_wrong_is_told_at_once(jobs: Jobs) -> None:
    with pytest.raises(errors.Invalid) as caught:
        jobs.submit(
            "true",
            environment="tensorflow/tensorflow:2.9.1",
            instance_type="Z9",
            inputs=[{"name": "in", "kind": "dataset", "ref": "nonsuch"}],
        )
    pointers = [fault.pointer for fault in caught.value.errors]
    assert pointers == ["/environment", "/instance_type", "/inputs/0/ref"]
    assert "default" in caught.value.errors[0].hint
    assert "nonsuch" in caught.value.errors[2].message


def test_an_instance_too_big_says_what_fits(jobs: Jobs) -> None:
    with pytest.raises(InstanceTooBig) as caught:
        jobs.submit("true", instance_type="H100x8")
    assert "this machine has no GPU" in caught.value.detail
    assert "fits" in caught.value.errors[0].hint
    with pytest.raises(UnknownInstanceType):
        jobs.submit("true", instance_type="C99")


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"files": {"../x": ""}}, "/files"),
        ({"inputs": [{"name": "v", "kind": "volume", "ref": "../../secrets"}]}, "/inputs/0/kind"),
        ({"inputs": [{"name": "k", "kind": "keys", "ref": "x"}]}, "/inputs/0/kind"),
        ({"outputs": [{"name": "v", "kind": "volume", "ref": "x"}]}, "/outputs/0/kind"),
        ({"inputs": [{"name": "a", "kind": "string", "ref": ""}] * 2}, "/inputs/1/name"),
        ({"tools": ["hammer"]}, "/tools/0"),
        ({"nodes": 2}, "/nodes"),
        ({"kind": "serve", "nodes": 2}, "/nodes"),
        ({"kind": "serve", "timeout_seconds": 5.0}, "/timeout_seconds"),
    ],
)
def test_one_wrong_field_is_named(jobs: Jobs, fields: dict[str, object], pointer: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        jobs.submit("true", **fields)
    assert [fault.pointer for fault in caught.value.errors] == [pointer]


def test_a_project_of_somebody_else_does_not_exist(jobs: Jobs) -> None:
    bob = JobsAPI(jobs.service.transport("bob"))
    with pytest.raises(errors.NotFound):
        bob.submit(JobSpec.model_validate({"project_id": jobs.project, "command": ["true"]}))


def test_jobs_of_somebody_else_do_not_exist(jobs: Jobs) -> None:
    job = jobs.shell("echo secret")
    bob = JobsAPI(jobs.service.transport("bob"))
    for call in (bob.get, bob.cancel, bob.log, bob.artifacts):
        with pytest.raises(NoSuchJob):
            call(job.id)
    assert list(bob.list()) == []


# Ending one.


def test_cancelling_a_running_job(jobs: Jobs) -> None:
    submitted = jobs.submit("sh", "-c", "trap 'echo bye; exit 0' TERM; echo go; sleep 60 & wait")
    for text in jobs.api.follow(submitted.id):
        if "go" in text:
            jobs.api.cancel(submitted.id)
    job = jobs.api.get(submitted.id)
    assert (job.state, job.reason, job.message) == ("Canceled", "cancelled", "alice cancelled it.")
    assert jobs.api.log(job.id) == "go\nbye\n"


def test_cancelling_what_has_ended_changes_nothing(jobs: Jobs) -> None:
    job = jobs.shell("true")
    assert jobs.api.cancel(job.id) == job


def test_a_busy_machine_queues_and_cancelling_a_queued_job_never_starts_it(jobs: Jobs) -> None:
    first = jobs.submit("sleep", "60")
    waiting = [jobs.submit("sh", "-c", "echo x >> /storage/ran") for _ in range(9)]
    until(jobs, waiting[-1].id, lambda j: j["message"].startswith("Waiting for"))
    for job in waiting:
        jobs.api.cancel(job.id)
    jobs.api.cancel(first.id)
    ended = [jobs.api.wait(job.id) for job in waiting]
    assert ended[-1].state == "Canceled"
    assert ended[-1].started_at is None
    assert jobs.api.log(ended[-1].id) == ""


# Tokens.


def test_the_token_of_a_job_is_bound_to_it_and_ends_with_it(jobs: Jobs, shared: Life) -> None:
    other = shared.transport().post("/projects", {"name": "other"})["id"]
    submitted = jobs.submit(
        "sh", "-c", "echo $NABLAHUB_TOKEN; until [ -e /storage/stop ]; do sleep 0.02; done"
    )
    token = next(iter(jobs.api.follow(submitted.id))).strip()
    with Transport(jobs.service.url, token, tries=1) as run:
        assert [p["id"] for p in run.pages("/projects")] == [jobs.project]
        with pytest.raises(errors.NotFound):
            run.get(f"/projects/{other}")
        until(jobs, submitted.id, lambda j: j["state"] == "Running")  # stored just after it began
        assert run.get(f"/jobs/{submitted.id}")["id"] == submitted.id
        (shared.storage() / "stop").touch()
        jobs.api.wait(submitted.id)
        with pytest.raises(errors.Unauthenticated):
            run.get(f"/jobs/{submitted.id}")
    assert token.encode() not in databases.stored(shared.root)


# Servers.


def test_a_server_gets_ready_and_drains(jobs: Jobs) -> None:
    program = (
        "import http.server, os, signal, sys\n"
        "signal.signal(signal.SIGTERM, lambda *_: (print('drained'), sys.exit(0)))\n"
        "http.server.HTTPServer(('127.0.0.1', int(os.environ['PORT'])),"
        " http.server.SimpleHTTPRequestHandler).serve_forever()\n"
    )
    submitted = jobs.submit("python", "-c", program, kind="serve")
    until(jobs, submitted.id, lambda j: j["ready"])
    job = jobs.api.get(submitted.id)
    assert job.state == "Running"
    assert httpx.get(f"{job.address}/").status_code == 200
    jobs.api.cancel(job.id)
    ended = jobs.api.wait(job.id)
    assert (ended.state, ended.ready) == ("Canceled", False)
    assert "drained" in jobs.api.log(job.id)


# What is there to run on.


def test_instance_types_and_environments(jobs: Jobs) -> None:
    hub = jobs.service.transport()
    types = {t["name"]: t for t in hub.get("/instance-types")["items"]}
    assert types["C4"]["available"]
    assert not types["H100"]["available"]
    assert "no GPU" in types["H100"]["reason"]
    [default] = [e for e in hub.get("/environments")["items"] if e["name"] == "default"]
    assert default["kernel"]
    assert default["built"]
    assert "numpy" in default["packages"]
    assert "bash:5" in default["aliases"]


def test_the_same_idempotency_key_makes_one_job(jobs: Jobs) -> None:
    hub = jobs.service.transport()
    body = {"project": jobs.project, "command": ["sh", "-c", "echo once >> /storage/once"]}
    headers = {"Idempotency-Key": "the same"}
    answers = [hub.request("POST", "/jobs", body=body, headers=headers) for _ in range(3)]
    assert len({answer["id"] for answer in answers}) == 1
    jobs.api.wait(answers[0]["id"])
    assert jobs.api.log(jobs.shell("cat /storage/once").id) == "once\n"


def test_many_at_once(jobs: Jobs) -> None:
    submitted = [jobs.submit("sh", "-c", f"echo {n}") for n in range(12)]
    ended = [jobs.api.wait(job.id) for job in submitted]
    assert {job.state for job in ended} == {"Succeeded"}
    assert [jobs.api.log(job.id) for job in ended] == [f"{n}\n" for n in range(12)]


def test_deleting_a_job_that_has_ended(jobs: Jobs, shared: Life) -> None:
    running = jobs.submit("sleep", "60")
    with pytest.raises(JobRuns):
        jobs.api.delete(running.id)
    jobs.api.cancel(running.id)
    jobs.api.wait(running.id)
    jobs.api.delete(running.id)
    with pytest.raises(NoSuchJob):
        jobs.api.get(running.id)
    with pytest.raises(NoSuchJob):
        jobs.api.log(running.id)


def test_over_its_quota_storage_is_read_only_and_the_log_says_what_is_large(life: Life) -> None:
    life.service.stop()
    life.service = RunningService(
        life.root, EXTENSIONS, environments_dir=life.service.settings.environments_dir,
        storage_quota_bytes=100_000,
    ).start()  # fmt: skip
    assert life.jobs.shell("head -c 200000 /dev/zero > /storage/big").state == "Succeeded"
    storage = life.service.service.context.get(StorageService)
    storage.scanner.measure_again()
    job = life.jobs.shell("cat /storage/big | wc -c; touch /storage/more")
    assert job.state == "Failed"
    said = life.jobs.api.log(job.id)
    assert "/storage is over its quota: " in said
    assert "Largest in /storage: big " in said
    assert "This job sees it read-only." in said
    assert "200000" in said
    assert "Read-only file system" in said
    (life.storage() / "big").unlink()
    storage.scanner.measure_again()
    assert life.jobs.shell("touch /storage/more").state == "Succeeded"
