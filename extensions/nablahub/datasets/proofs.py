"""Proving bytes before they leave: a damaged object is refused, not handed out."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator
from typing import Final

from nablahub.core.turns import Turns
from nablahub.datasets.contents import Contents, Place
from nablahub.datasets.errors import BadObject
from nablahub.datasets.packs import SMALL
from nablahub.datasets.paths import show

#: An object up to this size is read whole before the first range of it leaves.
READ_WHOLE: Final = 256 << 20
#: Of so many large objects it is known that they were right.
REMEMBERED: Final = 65_536


class Proofs:
    """Proves what is read, and remembers which large objects were right when they were read whole.

    An object is known by where it lies and by what changes when its bytes are stored anew
    (:meth:`nablahub.core.objects.ObjectStore.stamp`); used by many threads.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self._lock = threading.Lock()
        self._turns: Turns[tuple[str, str, str]] = Turns()

    def proved(
        self, contents: Contents, place: Place, name: str, digest: str, start: int, length: int
    ) -> Iterator[bytes]:
        """Yield an object's bytes, or a range of them, once they are proved.

        A small object is read whole. The last piece of a large one is kept back until all of it
        was right, so that whoever gets a wrong one never gets it whole. Before the first range of
        a large one leaves all of it is read, once, up to :data:`READ_WHOLE`. A range of a larger
        one is as it is stored, unless all of that was read before and damaged nothing: reading
        hundreds of GiB for a few bytes would be no answer.

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
        if place.size <= SMALL:
            data = b"".join(self._whole(contents, place, name, digest))
            yield data[start : start + length]
        elif length == place.size:
            kept = b""
            for data in self._whole(contents, place, name, digest):
                if kept:
                    yield kept
                kept = data
            yield kept
        else:
            if place.size <= READ_WHOLE:
                self._prove(contents, place, name, digest)
            yield from contents.chunks(place, start, length)

    def _prove(self, contents: Contents, place: Place, name: str, digest: str) -> None:
        """Read all of an object unless it is known to be right; the second asker waits."""
        mark = self._mark(contents, place, digest)
        with self._turns.take(mark):
            with self._lock:
                if mark in self._known:
                    self._known.move_to_end(mark)
                    return
            for _ in self._whole(contents, place, name, digest):
                pass

    def _whole(self, contents: Contents, place: Place, name: str, digest: str) -> Iterator[bytes]:
        """Yield all of an object; BadObject in the place of its end when it is not right."""
        large = place.size > SMALL
        mark = self._mark(contents, place, digest) if large else ("", "", "")
        hashed = hashlib.sha256() if len(digest) == 64 else hashlib.md5(usedforsecurity=False)
        try:
            for data in contents.chunks(place):
                hashed.update(data)
                yield data
        except FileNotFoundError as error:
            raise damaged(name) from error
        whole = hashed.hexdigest() == digest
        if large:
            (self._note if whole else self._forget)(mark)
        if not whole:
            raise damaged(name)

    def found(self, contents: Contents, place: Place, digest: str, *, whole: bool) -> None:
        """Remember what somebody else has found who read all of a large object."""
        (self._note if whole else self._forget)(self._mark(contents, place, digest))

    def _mark(self, contents: Contents, place: Place, digest: str) -> tuple[str, str, str]:
        return contents.store.stamp(place.key) or "", place.key, digest

    def _note(self, mark: tuple[str, str, str]) -> None:
        with self._lock:
            self._known[mark] = None
            while len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def _forget(self, mark: tuple[str, str, str]) -> None:
        with self._lock:
            self._known.pop(mark, None)


def damaged(name: str) -> BadObject:
    """Return the error for stored bytes that are not what they were."""
    return BadObject(
        f"The stored bytes of '{show(name)}' are damaged or gone.",
        hint="`nablahub datasets verify` restores them if there is a copy; else put the file "
        "again from where it came from.",
    )
