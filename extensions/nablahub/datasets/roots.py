"""The lists of pages that were read last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from nablahub.datasets.manifest import Root

#: Pages of all lists that are kept, about 0.6 KiB each; a version of 1,000,000 files has 1,000.
MOST: Final = 20_000


class Roots:
    """Keeps lists of pages in memory: a version's never changes.

    Parameters
    ----------
    most : int
        Pages of all of them together; the list read last is kept however long it is.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._pages = 0
        self._found: OrderedDict[tuple[str, ...], Root] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[str, ...], read: Callable[[], Root]) -> Root:
        """Return the list that is kept under a key, else read it."""
        with self._lock:
            if (known := self._found.get(key)) is not None:
                self._found.move_to_end(key)
                return known
        root = read()
        with self._lock:
            if key not in self._found:
                self._found[key] = root
                self._pages += len(root.pages)
            while self._pages > self._most and len(self._found) > 1:
                self._pages -= len(self._found.popitem(last=False)[1].pages)
        return root
