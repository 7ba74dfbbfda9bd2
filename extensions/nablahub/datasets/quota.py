"""How many bytes a team's part of the store may hold, whatever of its slices they belong to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from nablahub.datasets.errors import DatasetQuota
from nablahub.datasets.store import used_bytes


@dataclass(frozen=True)
class Quota:
    """The quota of a space; see :attr:`nablahub.datasets.store.DatasetRow.space`.

    Parameters
    ----------
    space : str
        Whose.
    limit : int
        Bytes that it may hold.
    others : sequence of callable
        Tell what other slices have in a space.
    """

    space: str
    limit: int
    others: Sequence[Callable[[Session, str], int]]

    def used(self, session: Session) -> int:
        """Return how many bytes are held, uncommitted ones included."""
        other = sum(count(session, self.space) for count in self.others)
        return used_bytes(session, self.space) + other

    def left(self, session: Session) -> int:
        """Return how many bytes may still come."""
        return self.limit - self.used(session)

    def check(self, session: Session, size: int, waiting: int = 0) -> None:
        """Raise DatasetQuota when ``size`` more bytes are more than the team may have.

        Parameters
        ----------
        waiting : int
            Bytes beside those held that no row counts yet.
        """
        used = self.used(session)
        if used + waiting + size > self.limit:
            raise DatasetQuota(used, size, self.limit, waiting)
