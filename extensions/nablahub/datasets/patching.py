"""A manifest that differs in a few files from another: only their pages are read and written."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import lru_cache

from nablahub.datasets.comparing import Manifest
from nablahub.datasets.errors import BadManifest, BadPath
from nablahub.datasets.manifest import Entry, Rows, Stored, cut, make_page
from nablahub.datasets.manifests import AHEAD
from nablahub.datasets.paths import LOOKS_THE_SAME, Forms, show


class Patch:
    """Files put into a version and files dropped from it.

    Parameters
    ----------
    reader : Manifest
        The version that it begins with.
    puts : mapping of str to Entry
        New or changed files by path, each path checked by itself.
    drops : collection of str
        Paths that go; one that is not there is no error.
    """

    def __init__(self, reader: Manifest, puts: Mapping[str, Entry], drops: Collection[str]) -> None:
        self._reader = reader
        self._puts = puts
        self._drops = {path for path in drops if path not in puts}
        #: Of each page that changes, in their order: the paths that do.
        self._changes: dict[int, list[str]] = {}
        for path in sorted({*self._puts, *self._drops}):
            self._changes.setdefault(max(reader.root.find(path), 0), []).append(path)
        self._touched = list(self._changes)
        self._ahead: dict[int, bytes] = {}
        self._rows = lru_cache(64)(self._read)

    def pages(self) -> Iterator[Stored]:
        """Yield all pages of the new manifest; those of the old one that stay have no bytes.

        The pages are those that the whole tree would be cut into: the same tree has one digest,
        however it came about.

        Raises
        ------
        BadPath
            When an added file would lie in a file, or be a folder of another, or look the same.
        """
        self.check_added()
        base = self._reader.root.pages
        rows = Rows()
        for number, page in enumerate(base):
            if not len(rows) and number not in self._changes:
                yield Stored(page, None)
                continue
            rows.add(self._merged(number, self._changes.get(number, [])))
            whole, rows = cut(rows)
            yield from map(make_page, whole)
        if not base:
            whole, rows = cut(Rows.of(self._puts[path] for path in sorted(self._puts)))
            yield from map(make_page, whole)
        if len(rows):
            yield make_page(rows)

    def _read(self, number: int) -> Rows:
        """Return the rows of a page; of those that are touched many are read at once, in order."""
        place = bisect_left(self._touched, number)
        if self._touched[place : place + 1] != [number]:
            return self._reader.rows(number)
        if number not in self._ahead:
            self._ahead = self._reader.texts(self._touched[place : place + AHEAD])
        return Rows.of_page(self._ahead[number])

    def _merged(self, number: int, paths: Iterable[str]) -> Rows:
        before = self._rows(number)
        rows = dict(zip(before.paths, zip(before.lines, before.sizes, strict=True), strict=True))
        for path in paths:
            if (entry := self._puts.get(path)) is not None:
                rows[path] = entry.line()[:-1], entry.size
            else:
                rows.pop(path, None)
        names = sorted(rows)
        found = [rows[path] for path in names]
        return Rows([line for line, _ in found], names, [size for _, size in found])

    def _has(self, path: str) -> bool:
        """Whether the new version has a file of that path."""
        return path in self._puts or (path not in self._drops and self._had(path))

    def _had(self, path: str) -> bool:
        number = self._reader.root.find(path)
        if number < 0:
            return False
        paths = self._rows(number).paths
        place = bisect_left(paths, path)
        return place < len(paths) and paths[place] == path

    def check_added(self) -> None:
        """Refuse added files that lie in a file, are a folder of others, or look like another."""
        added = [path for path in self._puts if not self._had(path)]
        names = sorted(self._puts)
        seen: set[str] = set()
        for path in added:
            folder = path.rpartition("/")[0]
            while folder and folder not in seen:
                seen.add(folder)
                if self._has(folder):
                    raise BadPath(path, f"'{show(folder)}' is a file, so nothing can lie in it")
                folder = folder.rpartition("/")[0]
            inside = self._inside(f"{path}/", names)
            if inside is not None:
                raise BadPath(inside, f"'{show(path)}' is a file, so nothing can lie in it")
        if any(not path.isascii() for path in added):
            self._check_forms()

    def _inside(self, prefix: str, names: list[str]) -> str | None:
        """Return a file of the new version whose path begins with ``prefix``."""
        place = bisect_left(names, prefix)
        if place < len(names) and names[place].startswith(prefix):
            return names[place]
        for number in range(max(self._reader.root.find(prefix), 0), len(self._reader.root.pages)):
            paths = self._rows(number).paths
            for path in paths[bisect_left(paths, prefix) :]:
                if not path.startswith(prefix):
                    return None
                if path not in self._drops:
                    return path
        return None

    def _check_forms(self) -> None:
        """Refuse two paths that differ only in the form of their Unicode characters."""
        forms = Forms()
        for path in self._paths():
            if not path.isascii() and not forms.add(path):
                raise BadPath(path, LOOKS_THE_SAME)
        if forms.plain:  # Hardly ever: a Kelvin sign looks like a K.
            for path in self._paths():
                names = path.split("/")
                if any("/".join(names[: n + 1]) in forms.plain for n in range(len(names))):
                    raise BadPath(path, LOOKS_THE_SAME)

    def _paths(self) -> Iterator[str]:
        """Yield the paths of the new version, in no order."""
        yield from self._puts
        for number in range(len(self._reader.root.pages)):
            for path in self._rows(number).paths:
                if path not in self._drops and path not in self._puts:
                    yield path


def split_drops(text: bytes) -> tuple[list[str], bytes]:
    """Split the text of a patch into the paths that go and the lines of those that come.

    Raises
    ------
    BadManifest
        When a path is not UTF-8.
    """
    place = 0
    gone: list[str] = []
    while text.startswith(b"- ", place):
        end = text.find(b"\n", place)
        if end < 0:
            break
        try:
            gone.append(text[place + 2 : end].decode())
        except UnicodeDecodeError as error:
            raise BadManifest(
                f"The path on line {len(gone) + 1} is not valid UTF-8.", hint="Send it as UTF-8."
            ) from error
        place = end + 1
    return gone, text[place:]
