"""Which databases are taken, and what their errors mean to people."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import DataError, OperationalError

from nablahub.core.engines import BadDatabase, parse, postgresql, read_password, told
from nablahub.core.errors import Invalid, StorageFull, Unavailable


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://n:secret@db/n", "holds a password"),
        ("postgresql://n@db/n?password=secret", "holds a password"),
        ("mysql://n@db/n", "must be PostgreSQL, not mysql"),
        ("sqlite:////tmp/x", "must be PostgreSQL, not sqlite"),
        ("postgresql://n@db", "have a name"),
        ("db.example.org", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_shown(url: str, said: str) -> None:
    with pytest.raises(BadDatabase, match=said) as caught:
        parse(url)
    assert "secret" not in str(caught.value)


def test_the_password_is_read_from_its_file_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "password"
    backend = postgresql("postgresql://n@db.example.org:6432/n?sslmode=require", file)
    assert backend.arguments is not None
    with pytest.raises(BadDatabase, match="database_password_file names the file"):
        backend.arguments()
    for word in ("one", "two"):
        file.write_text(f"{word}\n")
        found = backend.arguments()
        assert (found["password"], found["host"], found["port"]) == (word, "db.example.org", 6432)
        assert found["sslmode"] == "require"
    assert "two" not in repr(backend)
    assert read_password(file) == "two"
    backend.dispose()


class _Refused(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("as the driver says")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (OperationalError("q", {}, _Refused("53100")), StorageFull),
        (OperationalError("q", {}, _Refused(None)), Unavailable),
        (OperationalError("q", {}, _Refused("57P01")), Unavailable),
        (OperationalError("q", {}, _Refused("55P03")), Unavailable),
        (OperationalError("q", {}, sqlite3.OperationalError("disk is full")), StorageFull),
        (OperationalError("q", {}, sqlite3.OperationalError("no such table")), OperationalError),
        (DataError("q", {}, _Refused("22001")), Invalid),
    ],
)
def test_errors_of_databases_become_ours(error: Exception, ours: type[Exception]) -> None:
    with pytest.raises(ours), told():
        raise error
