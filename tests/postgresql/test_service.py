"""Tokens, routes and run tokens on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

from tests.unit.service.test_edge import *
