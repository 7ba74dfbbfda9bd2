"""Lists that show themselves as tables in a notebook."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

Columns = Mapping[str, Callable[[Any], Any]]


class Table(list[Any]):
    """A list of things and how to show it.

    Parameters
    ----------
    rows : iterable
        The things.
    columns : mapping of str to callable
        Heading → what to show of a thing.
    empty : str
        What is shown when there are none: the first step.
    """

    def __init__(self, rows: Iterable[Any], columns: Columns, empty: str = "") -> None:
        super().__init__(rows)
        self.columns = columns
        self.empty = empty

    def cells(self) -> list[list[str]]:
        """Return the texts of all rows."""
        return [[_text(show(row)) for show in self.columns.values()] for row in self]

    def __repr__(self) -> str:
        if not self:
            return self.empty
        rows = [[heading.upper() for heading in self.columns], *self.cells()]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        if not self:
            return f"<p>{html.escape(self.empty)}</p>"
        head = "".join(f"<th scope='col'>{html.escape(heading)}</th>" for heading in self.columns)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
            for row in self.cells()
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    return str(value)
