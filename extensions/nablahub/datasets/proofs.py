"""Proving bytes before they leave: a damaged object is refused, not handed out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from nablahub.datasets.contents import Contents, Place
from nablahub.datasets.errors import BadObject
from nablahub.datasets.packs import SMALL
from nablahub.datasets.paths import show


def proved(
    contents: Contents, place: Place, name: str, digest: str, start: int, length: int
) -> Iterator[bytes]:
    """Yield an object's bytes, or a range of them, once they are proved.

    A small object is read whole. The last piece of a large one is kept back until all of it was
    right, so that whoever gets a wrong one never gets it whole. A range of a large one is as it
    is stored: proving it would take reading all.

    Parameters
    ----------
    name : str
        What it is called in the error.
    digest : str
        Its md5 or sha256, in hexadecimal.
    start, length : int
        The range in bytes.

    Raises
    ------
    BadObject
        When the stored bytes are not those that were stored, or gone.
    """
    hashed = hashlib.sha256() if len(digest) == 64 else hashlib.md5(usedforsecurity=False)
    whole = length == place.size
    if not whole and place.size > SMALL:
        yield from contents.chunks(place, start, length)
        return
    kept: list[bytes] = []
    try:
        for data in contents.chunks(place):
            hashed.update(data)
            kept.append(data)
            if place.size > SMALL and len(kept) > 1:
                yield kept.pop(0)
    except FileNotFoundError as error:
        raise damaged(name) from error
    if hashed.hexdigest() != digest:
        raise damaged(name)
    yield from kept if whole else [b"".join(kept)[start : start + length]]


def damaged(name: str) -> BadObject:
    """Return the error for stored bytes that are not what they were."""
    return BadObject(
        f"The stored bytes of '{show(name)}' are damaged or gone.",
        hint="`nablahub datasets verify` restores them if there is a copy; else put the file "
        "again from where it came from.",
    )
