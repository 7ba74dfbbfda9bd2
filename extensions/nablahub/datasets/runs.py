"""Pages of manifests that lie close together, so that they are read at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from nablahub.core.objects import CHUNK

#: Bytes between two pages that are read as well, rather than ask for each page by itself.
GAP: Final = 512 * 1024
#: Bytes that are read at once for several pages.
RUN: Final = 8 * CHUNK

#: Of a page: in whose object it lies, from which byte on, how many, and its number.
type Place = tuple[str, int, int, int]


def runs(places: list[Place]) -> Iterator[list[Place]]:
    """Yield places in groups, each of which lies close together in one object."""
    run: list[Place] = []
    for place in places:
        holder, start, length, _ = place
        if run:
            end = run[-1][1] + run[-1][2]
            whole = start + length - run[0][1]
            if holder != run[0][0] or start > end + GAP or whole > RUN:
                yield run
                run = []
        run.append(place)
    if run:
        yield run
