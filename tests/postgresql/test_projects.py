"""Teams and projects on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

from tests.unit.projects.test_projects import *
