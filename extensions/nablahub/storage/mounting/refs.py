"""How a folder of a bucket is named: ``<storage provider>/<folder>``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from nablahub.core.errors import Invalid

LONGEST: Final = 1000


@dataclass(frozen=True)
class BucketFolder:
    """A folder below the one that a storage provider is for.

    Parameters
    ----------
    storage : str
        Name or id of the provider.
    prefix : str
        The folder, without slashes around it; empty for all of it.
    """

    storage: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``ours/raw/2026``; Invalid when that cannot be a folder's name."""
        storage, _, rest = text.strip().partition("/")
        prefix = rest.strip("/")
        parts = prefix.split("/") if prefix else []
        if not storage or len(text) > LONGEST:
            raise Invalid(
                f"'{text[:80]}' does not name a folder of a bucket.",
                hint="Write <storage provider>/<folder>, such as ours/raw/2026.",
            )
        if any(part in ("", ".", "..") or not part.isprintable() for part in parts):
            raise Invalid(
                f"'{prefix}' cannot be a folder of a bucket.",
                hint="Its parts are names, with one '/' between them.",
            )
        return cls(storage, prefix)

    def __str__(self) -> str:
        return f"{self.storage}/{self.prefix}" if self.prefix else self.storage
