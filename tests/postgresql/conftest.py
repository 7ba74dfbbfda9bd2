"""The suites of the slices once more, on PostgreSQL.

Each module here takes in the tests of one suite, and what they need; what differs is the database.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import databases


@pytest.fixture(scope="module", autouse=True)
def on_postgresql() -> Iterator[None]:
    """Services that start here work on PostgreSQL."""
    with databases.postgresql():
        yield
