"""Deployments, their servers being jobs, on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

import pytest

from tests.unit.deployments.test_with_jobs import *

# They take long, and what is asked of the database here is asked in other files as well.
pytestmark = pytest.mark.slow
