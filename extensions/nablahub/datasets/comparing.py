"""What differs between two versions: only pages that are not shared are read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

from nablahub.datasets.manifest import Entry, Root, Rows


class Manifest(Protocol):
    """A manifest whose pages can be read."""

    @property
    def root(self) -> Root:
        """The list of its pages."""

    def page(self, number: int) -> list[Entry]:
        """Return the entries of a page."""

    def rows(self, number: int) -> Rows:
        """Return the rows of a page."""

    def texts(self, numbers: Iterable[int]) -> dict[int, bytes]:
        """Return the texts of some pages; those that lie close together are read at once."""


class Empty:
    """The manifest of a version that has no files."""

    root = Root(())

    def page(self, number: int) -> list[Entry]:
        """Return nothing: there is no page."""
        raise IndexError(number)

    def rows(self, number: int) -> Rows:
        """Return nothing, too."""
        raise IndexError(number)

    def texts(self, numbers: Iterable[int]) -> dict[int, bytes]:
        """Return nothing: there are no such numbers."""
        return {}


class Difference(NamedTuple):
    """A file that differs; the entry of the side that lacks it is None."""

    path: str
    old: Entry | None
    new: Entry | None

    @property
    def change(self) -> Literal["added", "removed", "changed"]:
        """What happened to it."""
        if self.old is None:
            return "added"
        return "removed" if self.new is None else "changed"


def differences(old: Manifest, new: Manifest) -> list[Difference]:
    """Return the files that differ, sorted by path."""
    shared = {page.digest for page in old.root.pages} & {page.digest for page in new.root.pages}
    before, after = _unshared(old, shared), _unshared(new, shared)
    paths = sorted(before.keys() | after.keys())
    rows = (Difference(path, before.get(path), after.get(path)) for path in paths)
    return [row for row in rows if row.old != row.new]


def _unshared(manifest: Manifest, shared: set[str]) -> dict[str, Entry]:
    return {
        entry.path: entry
        for number, page in enumerate(manifest.root.pages)
        if page.digest not in shared
        for entry in manifest.page(number)
    }
