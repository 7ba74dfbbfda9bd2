"""Keyset paging: a page costs the same wherever it lies in the list.

The light client takes `Page` and `PageQuery` from here and has no SQLAlchemy: only :func:`page`
loads it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from nablahub.core.errors import Fault, Invalid

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.orm import InstrumentedAttribute, Session

    type Column = InstrumentedAttribute[Any]


class Page[T](BaseModel):
    """A part of a list.

    Parameters
    ----------
    items : list
        In the order asked for.
    next : str or None
        What to send as ``cursor`` for the next part; None at the end.
    """

    items: list[T]
    next: str | None = None


class PageQuery(BaseModel):
    """What every list takes."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(default=50, ge=1, le=500, description="Items on a page")
    cursor: str | None = Field(default=None, description="`next` of the page before")
    sort: str = Field(default="-created_at", description="A field; with - in front: descending")


def page[R](
    session: Session,
    query: Select[R],
    asked: PageQuery,
    *,
    columns: Mapping[str, Column],
    key: Column,
) -> tuple[Sequence[R], str | None]:
    """Return one page of rows and the cursor of the next.

    Parameters
    ----------
    session : Session
        The transaction to read in.
    query : Select
        Selects one mapped class, already filtered.
    asked : PageQuery
        Limit, cursor and sort.
    columns : mapping of str to column
        What may be sorted by; none of them may be null.
    key : column
        Unique; breaks ties.

    Raises
    ------
    Invalid
        When the sort field or the cursor is unknown.
    """
    from sqlalchemy import or_  # not in the light client

    name = asked.sort.removeprefix("-")
    descending = asked.sort.startswith("-")
    if name not in columns:
        raise Invalid(
            f"The list cannot be sorted by {name!r}.",
            errors=[Fault("Unknown field.", "/sort", hint=f"One of {', '.join(columns)}.")],
        )
    column = columns[name]
    if asked.cursor is not None:
        value, last = _decode(asked.cursor, asked.sort, column)
        # The first condition is what an index is entered by; the second alone, which would do, is
        # looked at row by row from the list's beginning on.
        if descending:
            query = query.where(column <= value, or_(column < value, key < last))
        else:
            query = query.where(column >= value, or_(column > value, key > last))
    order = (column.desc(), key.desc()) if descending else (column, key)
    rows = session.scalars(query.order_by(*order).limit(asked.limit + 1)).all()
    if len(rows) <= asked.limit:
        return rows, None
    rows = rows[: asked.limit]
    end = rows[-1]
    return rows, _encode(asked.sort, getattr(end, column.key), getattr(end, key.key))


def _encode(sort: str, value: Any, last: Any) -> str:
    from nablahub.core.times import rfc3339  # needs SQLAlchemy, as page()

    if isinstance(value, datetime):
        value = rfc3339(value)
    return base64.urlsafe_b64encode(json.dumps([sort, value, last]).encode()).decode().rstrip("=")


def _decode(cursor: str, sort: str, column: Column) -> tuple[Any, Any]:
    try:
        made_for, value, last = json.loads(base64.urlsafe_b64decode(cursor + "=" * 3))
        if made_for != sort:
            raise ValueError(sort)
        if column.type.python_type is datetime or "Moment" in type(column.type).__name__:
            value = datetime.fromisoformat(value)
            value.astimezone(UTC)
        elif not isinstance(value, column.type.python_type):
            raise ValueError(value)
        if not isinstance(last, (str, int)) or not isinstance(value, (str, int, float, datetime)):
            raise ValueError(last)
        for given in (value, last):
            str(given).encode()  # a lone surrogate is no text
            if isinstance(given, bool) or (isinstance(given, int) and abs(given) >= 1 << 63):
                raise ValueError(given)  # no number of a database
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Invalid(
            "The cursor does not belong to this list.",
            errors=[Fault("Not a cursor of this list and sort.", "/cursor", hint="Leave it out.")],
        ) from error
    return value, last
