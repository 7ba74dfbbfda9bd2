"""Moments: always UTC, kept by SQLite as text that sorts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator


def now() -> datetime:
    """Return this moment in UTC, to the microsecond."""
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """Write a moment as ``2026-11-21T09:00:00.000000Z`` (RFC 3339, always UTC, sorts as text)."""
    # isoformat() takes a thirtieth of strftime()'s time, and every column of moments comes by here.
    return f"{moment.astimezone(UTC).isoformat(timespec='microseconds')[:-6]}Z"


class Moment(TypeDecorator[datetime]):
    """A column of moments, stored as RFC 3339 text with microseconds in UTC."""

    impl = String(32)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:
        """Turn a moment into text."""
        return None if value is None else rfc3339(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Turn text into a moment."""
        return None if value is None else datetime.fromisoformat(value)
