"""Names that people give: one rule for all of them."""

from __future__ import annotations

import unicodedata
from typing import Annotated

from pydantic import AfterValidator, Field

LONGEST = 100
FORBIDDEN = '/\\:@%?#"<>|*'


def check_name(name: str) -> str:
    """Return the name in NFC form.

    Raises
    ------
    ValueError
        When it is empty, too long, or holds what paths and references need for themselves.
    """
    name = unicodedata.normalize("NFC", name)
    bad = sorted({c for c in name if c in FORBIDDEN or unicodedata.category(c)[0] == "C"})
    if bad:
        shown = " ".join(repr(c) for c in bad)
        raise ValueError(f"A name may not contain {shown}; use letters, digits, '-', '_' or '.'.")
    if not name or name != name.strip() or name in (".", ".."):
        raise ValueError("A name may not be empty, begin or end with a space, or be '.' or '..'.")
    return name


Name = Annotated[
    str,
    Field(min_length=1, max_length=LONGEST, description="Unique in its team; no slash or colon"),
    AfterValidator(check_name),
]
