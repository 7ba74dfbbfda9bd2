"""Deployments, their servers being jobs, on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

from tests.unit.deployments.test_with_jobs import *
