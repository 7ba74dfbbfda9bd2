"""Which database the services of tests work on: SQLite, or PostgreSQL in tests/postgresql."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nablahub.core.state import StateDir
from tests.support import postgres

_chosen: list[str] = ["sqlite"]
_made: dict[Path, dict[str, str]] = {}


@contextmanager
def postgresql() -> Iterator[None]:
    """While the block runs, each new state directory has a PostgreSQL database of its own."""
    _chosen.append("postgresql")
    try:
        yield
    finally:
        _chosen.pop()


def settings(root: Path) -> dict[str, str]:
    """Return the settings that name the database of a state directory, always the same one."""
    if root not in _made:
        _made[root] = postgres.shared().settings() if _chosen[-1] == "postgresql" else {}
    return _made[root]


def stored(root: Path) -> bytes:
    """Return all that the database of a state directory holds."""
    url = settings(root).get("database_url")
    if url is not None:
        return postgres.shared().dump(url)
    file = StateDir(root).database
    return b"".join(part.read_bytes() for part in file.parent.glob(f"{file.name}*"))
