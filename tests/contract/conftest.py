"""Fixtures of the contract suites: they need no hub, no service and no database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contract.suite", "tests.contract.suite_leavings")
from tests.contract.places import Place, ProcessPlace  # noqa: E402


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """The process runner over a place of its own."""
    made = ProcessPlace(tmp_path)
    yield made
    await made.close()
