"""The one error tree. What HTTP makes of it stands in :mod:`nablahub.service.problems` alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class Fault:
    """One of several things wrong with a request.

    Parameters
    ----------
    message : str
        What is wrong, in a sentence.
    pointer : str
        JSON pointer of the field (RFC 6901), empty when the fault has a line instead.
    line, column : int or None
        Place in the text that was sent, counted from 1.
    hint : str
        The way out.
    """

    message: str
    pointer: str = ""
    line: int | None = None
    column: int | None = None
    hint: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the fault as JSON has it, without what is empty."""
        return {k: v for k, v in vars(self).items() if v not in ("", None)}

    def __str__(self) -> str:
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        place = place or (f"{self.pointer}: " if self.pointer else "")
        return f"{place}{self.message}" + (f" {self.hint}" if self.hint else "")


class NablaError(Exception):
    """A failure whose text may be shown to the user.

    Parameters
    ----------
    detail : str
        What happened and why, in whole sentences.
    hint : str
        What to do about it.
    errors : sequence of Fault
        The single faults, when there are several or when they have places.
    """

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "The work could not be done"

    def __init__(self, detail: str, *, hint: str = "", errors: Sequence[Fault] = ()) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.errors = tuple(errors)

    def __str__(self) -> str:
        return " ".join(part for part in (self.detail, self.hint) if part)


class NotFound(NablaError):
    """It does not exist, or not for the one who asks: the two look the same on purpose."""

    code = "not_found"
    title = "Not found"


class Malformed(NablaError):
    """The request could not be read at all."""

    code = "malformed"
    title = "The request could not be read"


class Invalid(NablaError):
    """The request was read, and what it says is wrong."""

    code = "invalid"
    title = "The request is not valid"


class Conflict(NablaError):
    """It clashes with what is there."""

    code = "conflict"
    title = "It clashes with what is there"


class PreconditionFailed(NablaError):
    """It has been changed since it was read."""

    code = "changed_meanwhile"
    title = "It has changed meanwhile"


class PreconditionRequired(NablaError):
    """An update must say which revision it starts from."""

    code = "if_match_missing"
    title = "If-Match is missing"


class Unauthenticated(NablaError):
    """Nobody, or nobody any more."""

    code = "unauthenticated"
    title = "Sign in first"


class Forbidden(NablaError):
    """The token is good, and may not do this."""

    code = "forbidden"
    title = "Not allowed"


class TooLarge(NablaError):
    """The body exceeds a limit."""

    code = "too_large"
    title = "Too large"


class QuotaExceeded(NablaError):
    """A quota of the user or team is used up."""

    code = "quota_exceeded"
    title = "Quota exceeded"


class StorageFull(NablaError):
    """The disk behind the hub is full."""

    code = "storage_full"
    title = "The storage is full"


class Unavailable(NablaError):
    """Something that is needed does not answer just now."""

    code = "unavailable"
    title = "Not available now"


def tree() -> dict[str, type[NablaError]]:
    """Return every known error class by its code (a child never hides its parent)."""
    found: dict[str, type[NablaError]] = {}
    todo: list[type[NablaError]] = [NablaError]
    while todo:
        cls = todo.pop()
        found.setdefault(cls.code, cls)
        todo.extend(cls.__subclasses__())
    return found
