"""Jobs from submit to end, over the REST API of a real service and in real sandboxes."""

from __future__ import annotations

from tests.unit.jobs.conftest import Jobs, Life


def test_a_job_from_submit_to_its_log(jobs: Jobs) -> None:
    job = jobs.shell("echo hello; pwd; test -d /storage && echo storage")
    assert (job.state, job.reason, job.exit_code) == ("Succeeded", None, 0)
    assert jobs.api.log(job.id) == "hello\n/work\nstorage\n"
