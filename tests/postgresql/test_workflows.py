"""Whole runs of workflows on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

from tests.unit.workflows.test_service import *
