"""Storage providers on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

from tests.unit.storage.test_providers import *
