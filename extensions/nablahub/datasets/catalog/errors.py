"""What can be wrong with the catalog and its entries."""

from __future__ import annotations

from collections.abc import Iterable

from nablahub.core.errors import Fault, Invalid, NotFound, Unavailable
from nablahub.core.specmodel import did_you_mean


class BadCatalog(Invalid):
    """A catalog file cannot be used."""

    code = "bad_dataset_catalog"
    title = "The catalog of datasets cannot be used"

    def __init__(self, place: str, faults: list[Fault], hint: str = "") -> None:
        count = f"{len(faults)} things in it are wrong" if len(faults) > 1 else "it has a fault"
        hint = hint or f"Mend it; `nablahub datasets catalog check {place}` tells if it is sound."
        super().__init__(f"{place} cannot be used: {count}.", hint=hint, errors=faults)

    @property
    def story(self) -> str:
        """All of it on one line."""
        faults = "; ".join(str(fault).rstrip(".") for fault in self.errors)
        return f"{self.detail.rstrip('.')}: {faults}."


class NoSuchEntry(NotFound):
    """No such dataset in the catalog."""

    code = "no_such_catalog_entry"

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"There is no dataset '{name}' in the catalog.", hint=did_you_mean(name, known)
        )


class WrongChecksum(Unavailable):
    """A source has other bytes than the catalog says."""

    code = "wrong_checksum"

    def __init__(self, where: str, found: str, wanted: str) -> None:
        super().__init__(
            f"{where} has other bytes than the catalog says: their sha256 is {found} and not "
            f"{wanted}. Nothing of it was kept.",
            hint="Its source has changed it, or it was damaged on the way: tell an administrator.",
        )


class SourceAway(Unavailable):
    """A source does not answer."""

    code = "catalog_source_away"
