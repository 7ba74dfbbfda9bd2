"""Fixtures of the contract suites: they need no hub, no service and no database."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.places import PLACES, Place


@pytest.fixture(params=sorted(PLACES))
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """A runner of each kind over a place of its own."""
    made = PLACES[request.param](tmp_path)
    yield made
    await made.close()


@pytest.fixture
def marker() -> str:
    """A word that no other process has in its command line."""
    return f"marker-{secrets.token_hex(8)}"
