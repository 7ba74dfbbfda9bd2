"""A database for the tests of runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from nablahub.core.database import Base, Database
from nablahub.core.times import now
from nablahub.projects.store import ProjectRow
from nablahub.teams.store import TeamRow
from tests.unit.workflows.house import House


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    database = Database(Path(tmp_path_factory.mktemp("db")) / "test.sqlite")
    Base.metadata.create_all(database.engine)

    def fill(session: Session) -> None:
        at = now()
        for table, fields in ((TeamRow, {}), (ProjectRow, {"team_id": "team"})):
            columns = {
                c.name: c.type.python_type for c in table.__table__.columns if not c.nullable
            }
            values = {
                name: at if name.endswith("_at") else kind() for name, kind in columns.items()
            }
            values |= {"id": "team" if table is TeamRow else "project", **fields}
            session.execute(insert(table).values(**values))

    database.write_sync(fill)
    yield House(database)
    database.close()
