"""Mounts on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

from tests.unit.mounts.test_mounts import *
