"""A log that is followed while its job says nothing."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from nablahub.core import errors, operations
from nablahub.core.transport import Transport
from nablahub.jobs.api import JobsAPI
from tests.unit.jobs.conftest import Jobs, Life

WAITING = ("sh", "-c", "echo begun; until [ -e /storage/stop ]; do sleep 0.02; done; echo ended")


@pytest.fixture
def silent(life: Life, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    """Jobs of a service that does not wait long between two looks at a token."""
    monkeypatch.setattr(operations, "HEARTBEAT_SECONDS", 0.05)
    life.service.service.context.settings = life.service.settings.model_copy(
        update={"introspection_seconds": 0.0}
    )
    return life.jobs


def test_a_silent_job_is_heard_of_until_it_speaks_again(silent: Jobs, life: Life) -> None:
    job = silent.submit(*WAITING)
    lines = []
    with httpx.stream(
        "GET",
        f"{silent.service.url}/api/v1/jobs/{job.id}/logs?follow=true",
        headers={"Authorization": "Bearer token-of-alice"},
    ) as answer:
        for line in answer.iter_lines():
            lines.append(line)
            if any("begun" in line for line in lines) and line == ": still here":
                (life.storage() / "stop").touch()
    words = "".join(line for line in lines if line.startswith("data: "))
    assert words.index("begun") < words.index("ended")
    assert ": still here" in lines
    assert "event: end" in lines


def test_a_token_that_dies_hears_no_more_of_a_silent_job(
    silent: Jobs, life: Life, tmp_path: Path
) -> None:
    job = silent.submit(*WAITING)
    token = life.service.fake.add("alice-again")
    life.service.fake.users[token]["name"] = "alice"
    with Transport(silent.service.url, token, tries=1) as hub:
        log = JobsAPI(hub).follow(job.id)
        assert next(log) == "begun\n"
        del life.service.fake.users[token]
        with pytest.raises(errors.Unauthenticated):
            next(log)
    (life.storage() / "stop").touch()
    assert silent.api.wait(job.id).state == "Succeeded"
