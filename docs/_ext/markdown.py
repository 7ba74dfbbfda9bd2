"""Markdown out of values: tables, cells, blocks."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence


def cell(text: object) -> str:
    """Return a text that stands in one cell of a table."""
    return " ".join(str(text).split()).replace("|", "\\|")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table; the empty text when there are no rows."""
    lines = ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    if not lines:
        return ""
    head = "| " + " | ".join(headings) + " |"
    return "\n".join([head, "|" + "---|" * len(headings), *lines]) + "\n"


def code(value: object) -> str:
    """Return a value as inline code; the empty text stays empty."""
    text = str(value)
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}" if text else ""


def block(text: str, language: str = "text") -> str:
    """Return a fenced block."""
    return f"```{language}\n{text.rstrip()}\n```\n"


def prose(text: str | None) -> str:
    """Return a docstring or help text as Markdown: reST's double backquotes become single ones."""
    return inspect.cleandoc(text or "").replace("``", "`").strip()


def sections(*parts: str) -> str:
    """Join parts by empty lines, leaving out the empty ones."""
    return "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
