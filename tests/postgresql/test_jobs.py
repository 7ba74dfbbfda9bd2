"""Jobs, and what is left of them after a kill, on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

from tests.unit.jobs.conftest import environments, jobs, life, shared  # noqa: F401
from tests.unit.jobs.test_jobs import *
from tests.unit.jobs.test_recovery import *
