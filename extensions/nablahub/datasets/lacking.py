"""Which objects of a new version have arrived: told before they are sent, checked at its commit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from nablahub.core.errors import Fault
from nablahub.datasets.contents import Contents
from nablahub.datasets.errors import MissingObjects, OtherBytes
from nablahub.datasets.manifest import Entry, Rows
from nablahub.datasets.paths import show
from nablahub.datasets.store import ObjectRow
from nablahub.datasets.transfer_types import ObjectName

SHOWN_FAULTS: Final = 50
#: Files that are looked up together.
GROUP: Final = 100_000
#: Finds large objects by their md5s, in a transaction of its own.
FindLarge = Callable[[Sequence[str]], dict[str, ObjectRow]]


def missing(find: FindLarge, contents: Contents, asked: Sequence[ObjectName]) -> list[str]:
    """Return the md5s of the objects that must be sent; reads the store, so in no transaction.

    Raises
    ------
    OtherBytes
        When others are stored under one of these md5s.
    """
    digests = [bytes.fromhex(o.md5 + o.sha256) for o in asked]
    holders = contents.holders(digests, [o.size for o in asked])
    unknown = [o for o, holder in zip(asked, holders, strict=True) if holder is None]
    contents.check_others(bytes.fromhex(o.md5 + o.sha256) for o in unknown)
    large = find([o.md5 for o in unknown]) if unknown else {}
    return list(dict.fromkeys(o.md5 for o in unknown if not _is_large(large, o)))


def _is_large(large: dict[str, ObjectRow], wanted: ObjectName) -> bool:
    row = large.get(wanted.md5)
    if row is not None and (row.sha256, row.size) != (wanted.sha256, wanted.size):
        raise OtherBytes(wanted.md5)
    return row is not None


@dataclass
class Check:
    """Goes through the files of a new version and sees whether each has its bytes.

    It reads the store, so it is no work for a transaction: :func:`finish` looks once more whether
    what it found is still there.

    Parameters
    ----------
    contents : Contents
        The dataset's objects.
    find : callable
        Finds those large objects that count.
    """

    contents: Contents
    find: FindLarge
    packs: set[str] = field(default_factory=set)
    large: set[str] = field(default_factory=set)
    _faults: list[Fault] = field(default_factory=list)
    _count: int = 0

    def through(self, groups: Iterable[Rows]) -> Iterator[Rows]:
        """Yield the rows, in larger groups; MissingObjects at the end names those without bytes."""
        for rows in _larger(groups):
            holders = self.contents.holders(rows.digests(), rows.sizes)
            self.packs.update(filter(None, set(holders)))
            if None in holders:
                lines = zip(rows.lines, holders, strict=True)
                self._look_up([line for line, holder in lines if holder is None])
            yield rows
        if self._count:
            raise MissingObjects(self._faults, self._count)

    def _look_up(self, lines: list[str]) -> None:
        """Look for objects that are in no pack among the large ones."""
        lost = Rows(lines).entries()
        known = self.find([entry.md5 for entry in lost])
        for entry in lost:
            row = known.get(entry.md5)
            if row is None or (row.sha256, row.size) != (entry.sha256, entry.size):
                self._fault(entry, row)
            else:
                self.large.add(entry.md5)

    def _fault(self, entry: Entry, row: ObjectRow | None) -> None:
        self._count += 1
        if len(self._faults) < SHOWN_FAULTS:
            problem = "never arrived" if row is None else "are not those that arrived"
            self._faults.append(
                Fault(f"{show(entry.path)}: the bytes of md5 {entry.md5} {problem}.")
            )


def _larger(groups: Iterable[Rows]) -> Iterator[Rows]:
    """Put groups together: all tables of packs are gone through once for each."""
    gathered = Rows()
    for group in groups:
        gathered.add(group)
        if len(gathered) >= GROUP:
            yield gathered
            gathered = Rows()
    if len(gathered):
        yield gathered
