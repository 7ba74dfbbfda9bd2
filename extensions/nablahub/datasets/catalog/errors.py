"""What can be wrong with the catalog and its entries."""

from __future__ import annotations

from collections.abc import Iterable

from nablahub.core.adminfile import BadFile
from nablahub.core.errors import NotFound, Unavailable
from nablahub.core.specmodel import did_you_mean


class BadCatalog(BadFile):
    """A catalog file cannot be used."""

    code = "bad_dataset_catalog"
    title = "The catalog of datasets cannot be used"
    check = "nablahub datasets catalog check"


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
