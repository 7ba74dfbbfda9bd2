"""`nablahub jobs`, as people and programs use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner, Result

from nablahub.jobs.cli import jobs as command
from nablahub.jobs.types import Job
from tests.unit.jobs.conftest import Jobs


@pytest.fixture(autouse=True)
def alice(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NABLAHUB_URL", jobs.service.url)
    monkeypatch.setenv("NABLAHUB_TOKEN", "token-of-alice")


def run(*words: str) -> Result:
    return CliRunner().invoke(command, words)


def test_running_prints_the_log_and_passes_the_exit_code_on() -> None:
    done = run("run", "--project", "work", "--", "sh", "-c", "echo hello; exit 7")
    assert (done.exit_code, done.stdout) == (7, "hello\n")
    assert "exit code 7" in done.stderr


def test_a_command_that_is_not_there_is_called_by_its_name() -> None:
    done = run("run", "--project", "work", "--", "nosuchcmd", "x")
    assert done.exit_code == 127
    assert "The command 'nosuchcmd' was not found in the environment 'default'." in done.stderr
    done = run("run", "--project", "work", "--", "sh", "-c", "nosuchcmd")
    assert done.exit_code == 127
    assert "Its command ended with exit code 127" in done.stderr


def test_running_with_json_leaves_stdout_to_the_json() -> None:
    done = run("run", "--project", "work", "--json", "--", "sh", "-c", "echo hello")
    job = Job.model_validate(json.loads(done.stdout))
    assert (done.exit_code, job.state, job.command) == (0, "Succeeded", ["sh", "-c", "echo hello"])
    assert "hello\n" in done.stderr


def test_options_of_the_command_are_its_own() -> None:
    done = run("run", "--project", "work", "sh", "-c", "echo $0 $1", "--json", "--env")
    assert done.stdout == "--json --env\n"


def test_inputs_outputs_and_variables() -> None:
    done = run(
        *("run", "--project", "work", "--json", "--env", "A=b=c"),
        *("--input", "word=string:hello", "--output", "out=string", "--"),
        *("sh", "-c", "cat /inputs/word > /outputs/out; echo $A >> /outputs/out"),
    )
    assert json.loads(done.stdout)["outputs"]["out"]["value"] == "hellob=c\n"


@pytest.mark.parametrize("option", ["--input=nonsense", "--output==string:x", "--env=novalue"])
def test_wrong_options_are_wrong_usage(option: str) -> None:
    done = run("run", "--project", "work", option, "--", "true")
    assert done.exit_code == 2
    assert "is not NAME=" in done.stderr


def test_what_cannot_run_says_what_can() -> None:
    done = run("run", "--project", "work", "--instance-type", "A100", "--", "true")
    assert done.exit_code == 1
    assert "this machine has no GPU" in done.stderr
    assert "fits" in done.stderr


def test_a_life_by_hand() -> None:
    job_id = run("run", "--project", "work", "--detach", "--", "sh", "-c", "echo x; sleep 60")
    job_id_text = job_id.stdout.strip()
    listed = run("list", "--json", "--project", "work")
    assert job_id_text in [row["id"] for row in json.loads(listed.stdout)]
    assert "being ended" in run("cancel", job_id_text).stdout
    followed = run("logs", job_id_text, "--follow")
    assert followed.exit_code == 0
    shown = run("show", job_id_text)
    assert "Canceled" in shown.stdout
    assert "had ended" in run("cancel", job_id_text).stdout
    assert run("logs", job_id_text).stdout == followed.stdout
    assert "cancelled" in run("list").stdout


def test_mounts_are_read_as_they_are_written() -> None:
    from nablahub.jobs.cli import _mounts

    found = _mounts(("raw=ours/raw/2026", "/datasets/all=ours:rw", "/inputs/x=ours/a:b:ro"))
    assert [(m.at, m.name, m.ref, m.read_only) for m in found] == [
        ("inputs", "raw", "ours/raw/2026", True),
        ("datasets", "all", "ours", False),
        ("inputs", "x", "ours/a:b", True),
    ]
    bad = run("run", "--project", "work", "--mount", "/etc/x=ours", "--", "true")
    assert bad.exit_code == 2
    assert "is not NAME=STORAGE/FOLDER" in bad.output
    gone = run("run", "--project", "work", "--mount", "raw=nonsuch/x", "--", "true")
    assert gone.exit_code == 1
    assert "There is no storage provider 'nonsuch'" in gone.output


def test_an_unknown_job() -> None:
    done = run("show", "jnonsuch", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout or done.stderr)["error"]["code"] == "no_such_job"


def test_the_installed_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "nablahub", "jobs", "run", "--project", "work", "--", "echo", "hi"],
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "hi\n")
