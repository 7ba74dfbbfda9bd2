"""Datasets on PostgreSQL."""

# ruff: noqa: F403
from __future__ import annotations

from tests.unit.datasets.conftest import service, tree  # noqa: F401
from tests.unit.datasets.test_datasets import *
from tests.unit.datasets.test_uploads import *
