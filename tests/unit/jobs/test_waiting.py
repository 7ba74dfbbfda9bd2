"""What a job waits for, told to who follows its log."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from nablahub.jobs import cli
from tests.support.held import NO_ROOM, hold_back
from tests.unit.jobs.conftest import Life

ONCE_TOLD = ("sh", "-c", "echo begun; until [ -e /storage/stop ]; do sleep 0.02; done; echo ended")


@pytest.fixture
def cramped(life: Life, monkeypatch: pytest.MonkeyPatch) -> Life:
    """A life in which jobs wait for room."""
    hold_back(life.service, monkeypatch)
    return life


def test_who_follows_a_log_hears_what_the_job_waits_for(cramped: Life) -> None:
    said = []

    def told(message: str) -> None:
        said.append(message)
        (cramped.storage() / "stop").touch()

    job = cramped.jobs.submit(*ONCE_TOLD)
    assert "".join(cramped.jobs.api.follow(job.id, told=told)) == "begun\nended\n"
    assert said == [NO_ROOM]


def test_running_a_job_tells_on_stderr_what_it_waits_for(
    cramped: Life, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell = cli.tell_message

    def told(message: str) -> None:
        tell(message)
        (cramped.storage() / "stop").touch()

    monkeypatch.setattr(cli, "tell_message", told)
    monkeypatch.setenv("NABLAHUB_URL", cramped.service.url)
    monkeypatch.setenv("NABLAHUB_TOKEN", "token-of-alice")
    done = CliRunner().invoke(cli.jobs, ["run", "--project", "work", "--", *ONCE_TOLD])
    assert (done.exit_code, done.stdout) == (0, "begun\nended\n")
    assert done.stderr.count(NO_ROOM) == 1
