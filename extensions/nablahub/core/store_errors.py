"""What can go wrong with an object store."""

from __future__ import annotations

from dataclasses import dataclass

from nablahub.core.errors import Conflict, NablaError, Unavailable


class StoreAway(Unavailable):
    """The object store does not answer just now."""

    code = "object_store_away"
    title = "The object store does not answer"


class StoreRefused(Conflict):
    """The object store answers, and refuses."""

    code = "object_store_refused"
    title = "The object store refuses"


@dataclass(frozen=True)
class Reason:
    """Why a store did not do something.

    Parameters
    ----------
    sentence, hint : str
        What is wrong and the way out.
    field : str
        Which field of a provider is wrong; empty when none is.
    away : bool
        Trying again later may help.
    """

    sentence: str
    hint: str
    field: str = ""
    away: bool = False

    def error(self) -> NablaError:
        """Return the error that says so."""
        return (StoreAway if self.away else StoreRefused)(self.sentence, hint=self.hint)
