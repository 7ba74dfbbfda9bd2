"""Jobs, and what is left of them after a kill, on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

from tests.unit.jobs.conftest import environments, jobs, life, shared  # noqa: F401
from tests.unit.jobs.test_jobs import *
from tests.unit.jobs.test_public_inputs import *
from tests.unit.jobs.test_recovery import *
from tests.unit.jobs.test_workspaces import (  # noqa: F401
    test_a_command_begins_in_a_copy_of_its_own,
    test_what_no_job_needs_goes_after_a_week,
)
