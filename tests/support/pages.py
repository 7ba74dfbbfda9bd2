"""What a page of a list costs SQLite, in steps of its machine: the same on any computer."""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event

from tests.support.service import RunningService

PAGE = 50


def steps(service: RunningService, path: str, table: str, **asked: Any) -> int:
    """Return how many steps SQLite takes for dora's first page of a list of more than a page.

    https://docs.python.org/3/library/sqlite3.html#sqlite3.Connection.set_progress_handler
    """
    said: list[tuple[str, Any]] = []
    engine = service.service.database.engine

    def note(_c: Any, _u: Any, statement: str, parameters: Any, *_: Any) -> None:
        if f"FROM {table}" in statement and "LIMIT" in statement:
            said.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        items = service.transport("dora").get(path, limit=PAGE, **asked)["items"]
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert len(items) == PAGE
    assert items == sorted(items, key=lambda item: str(item["created_at"]), reverse=True)
    ((statement, parameters),) = said
    taken = 0

    def count() -> None:
        nonlocal taken
        taken += 1

    with sqlite3.connect(service.service.settings.state.database) as database:
        database.set_progress_handler(count, 1)
        assert len(database.execute(statement, parameters).fetchall()) == PAGE + 1
        database.set_progress_handler(None, 1)
    return taken
