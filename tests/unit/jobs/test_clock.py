"""Tokens of jobs while the machine's clock goes back an hour and forward again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from nablahub.core.errors import Unauthenticated
from nablahub.core.transport import Transport
from tests.support.clock import Clock
from tests.support.waiting import until
from tests.unit.jobs.conftest import Jobs

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("begun", ["before", "within"])
def test_a_token_is_good_until_its_job_ends(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, begun: str
) -> None:
    clock, storage = Clock(monkeypatch), jobs.service.state.storage
    if begun == "within":
        clock.jump(-HOUR)
    script = "umask 77; printf %s $NABLAHUB_TOKEN > /storage/new && mv /storage/new /storage/{}"
    command = f"{script.format(begun)}; sleep 600"
    job = jobs.submit("sh", "-c", command, timeout_seconds=900).id
    (file,) = until(lambda: list(storage.glob(f"*/{begun}")), "the token is told")
    hub = Transport(jobs.service.url, file.read_text(), tries=1)
    for jump in (-HOUR, HOUR / 2, HOUR / 2) if begun == "before" else (HOUR / 2, HOUR / 2):
        clock.jump(jump)
        assert hub.get(f"/jobs/{job}")["id"] == job
    clock.jump(-HOUR)
    jobs.api.cancel(job)
    assert jobs.api.wait(job).state == "Canceled"
    with pytest.raises(Unauthenticated):
        hub.get(f"/jobs/{job}")
    hub.close()
