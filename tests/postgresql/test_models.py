"""Models on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

from tests.unit.models.test_models import *
