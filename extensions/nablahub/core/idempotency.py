"""A POST that is sent twice with one key is done once: the second gets the first's answer.

Follows the IETF draft *The Idempotency-Key HTTP Header Field*.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import Integer, String, Table, Text, bindparam, delete, insert, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from nablahub.core.database import Base
from nablahub.core.errors import Conflict, Malformed
from nablahub.core.permissions import Principal
from nablahub.core.times import Moment, now

KEPT = timedelta(days=2)


class IdempotencyRow(Base):
    """An answer that is remembered."""

    __tablename__ = "idempotency"

    who: Mapped[str] = mapped_column(String(255), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment, index=True)
    request: Mapped[str] = mapped_column(String(64))
    status: Mapped[int] = mapped_column(Integer)
    answer: Mapped[str] = mapped_column(Text)


#: Without the unit of work, since each POST comes by here.
_ANSWERS = cast("Table", IdempotencyRow.__table__)
_RECALL = select(_ANSWERS).where(
    (_ANSWERS.c.who == bindparam("who")) & (_ANSWERS.c.key == bindparam("key"))
)
_FORGET = delete(_ANSWERS).where(_ANSWERS.c.at < bindparam("before"))
_REMEMBER = insert(_ANSWERS)


class KeyReused(Conflict):
    """One key came with two different requests."""

    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key came with another request before.",
            hint="Use a new key for each new request.",
        )


@dataclass(frozen=True)
class Remembered:
    """An answer given before."""

    status: int
    answer: str


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key of a request, None when it has none; Malformed when it can't be one."""
    key = headers.get("Idempotency-Key")
    if key is not None and not 0 < len(key) <= 255:
        raise Malformed("An Idempotency-Key has 1 to 255 characters.")
    return key


def owner(who: Principal) -> str:
    """Return whose keys these are: what a run sent is no answer for the person behind it."""
    return f"run:{who.job_id}" if who.kind == "run" else who.name


def fingerprint(method: str, path: str, body: bytes) -> str:
    """Return a hash of what was asked."""
    return hashlib.sha256(b"\0".join([method.encode(), path.encode(), body])).hexdigest()


def recall(session: Session, who: str, key: str, request: str) -> Remembered | None:
    """Return the answer given for this key; KeyReused when the request differs."""
    row = session.execute(_RECALL, {"who": who, "key": key}).first()
    if row is None:
        return None
    if row.request != request:
        raise KeyReused
    return Remembered(row.status, row.answer)


def remember(session: Session, who: str, key: str, request: str, given: Remembered) -> None:
    """Keep an answer, in the transaction that made it, and forget those of other days."""
    at = now()
    session.execute(_FORGET, {"before": at - KEPT})
    fields = {"who": who, "key": key, "at": at, "request": request}
    session.execute(_REMEMBER, fields | {"status": given.status, "answer": given.answer})
