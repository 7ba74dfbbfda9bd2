"""The rules for paths in a dataset, in one place: whatever passes here is safe everywhere.

A path is relative, has ``/`` between its names, is UTF-8, and means the same file on every system
and after every decoding. Names that differ only in case are kept apart (letters of an alphabet do
lie in ``A/`` and ``a/``); :func:`case_twins` finds them for systems that can't.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import lt

from nablahub.core.paths import problem
from nablahub.core.paths import show as show
from nablahub.datasets.errors import BadPath

# Nearly all paths are of this kind: one match says that nothing below can be wrong with them.
_NAME = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9_.\-]{1,200}"
PLAIN = rf"{_NAME}(?:/{_NAME}){{0,8}}"
_PLAIN = re.compile(PLAIN)
LOOKS_THE_SAME = (
    "it looks the same as another path and differs only in the form of its Unicode characters"
)
_PLAIN_NAMES = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}\0)*+")


def are_plain_names(names: Iterable[str]) -> bool:
    """Tell whether nothing can be wrong with the names of files or folders."""
    return _PLAIN_NAMES.fullmatch("\0".join([*names, ""])) is not None


def is_plain(path: str) -> bool:
    """Tell whether nothing can be wrong with a path by itself; it is ASCII then."""
    return _PLAIN.fullmatch(path) is not None


def check_path(path: str) -> str:
    """Return the path when it may be in a dataset.

    Raises
    ------
    BadPath
        Naming the path, the rule it breaks and the way out.
    """
    if is_plain(path):
        return path
    if wrong := problem(path):
        raise BadPath(path, wrong)
    return path


class Forms:
    """The NFC forms of paths and of the folders in them, where these are not plain ASCII."""

    def __init__(self) -> None:
        self._seen: dict[str, str] = {}
        #: Those forms that are ASCII.
        self.plain: set[str] = set()

    def add(self, path: str) -> bool:
        """Add a path; False when it, or a folder in it, looks the same as another one."""
        name = path
        while not name.isascii():
            form = unicodedata.normalize("NFC", name)
            if (twin := self._seen.get(form)) is not None:
                return twin == name  # Then the folders in it have been seen, too.
            self._seen[form] = name
            if form.isascii():
                self.plain.add(form)
            name = name.rpartition("/")[0]
        return True


class TreeRules:
    """What must hold between the paths of one tree; feed it each path, in sorted order.

    Refused are a path that comes twice, a file that is also a folder of another file, and two
    paths or folders that look the same because only their Unicode form differs.
    """

    def __init__(self) -> None:
        self._last = b""
        self._folders: set[str] = set()
        self._files: set[str] = set()
        self._forms = Forms()

    def add(self, path: str) -> None:
        """Check one path and remember it.

        Raises
        ------
        BadPath
            When it breaks a rule by itself or together with an earlier one.
        """
        check_path(path)
        key = path.encode()
        if key <= self._last:
            if key == self._last:
                raise BadPath(path, "it is listed twice")
            raise BadPath(path, "the list is not sorted by the bytes of its paths")
        self._last = key
        self._add_folders(path)
        self._files.add(path)
        if not path.isascii():
            fits, plain = self._forms.add(path), self._forms.plain
            if not (fits and plain.isdisjoint(self._files) and plain.isdisjoint(self._folders)):
                raise BadPath(path, LOOKS_THE_SAME)

    def add_plain(self, paths: Sequence[str]) -> None:
        """Check many paths that have been found plain, as :data:`PLAIN` says; much faster.

        Raises
        ------
        BadPath
            As :meth:`add`.
        """
        last = self._last.decode()
        ordered = bool(paths) and last < paths[0] and all(map(lt, paths, islice(paths, 1, None)))
        if not ordered or not self._fits(paths):
            for path in paths:  # Finds out which one is wrong.
                self.add(path)
            return
        self._files.update(paths)
        self._last = paths[-1].encode()

    def _fits(self, paths: Sequence[str]) -> bool:
        """Add the folders of paths; False when one of them is a file."""
        added: set[str] = set()
        for folder in {path.rpartition("/")[0] for path in paths} - self._folders:
            while folder and folder not in added and folder not in self._folders:
                added.add(folder)
                folder = folder.rpartition("/")[0]
        if not added.isdisjoint(self._files) or not added.isdisjoint(paths):
            return False
        self._folders |= added
        return True

    def _add_folders(self, path: str) -> None:
        folder = path
        while cut := folder.rfind("/") + 1:
            folder = folder[: cut - 1]
            if folder in self._folders:
                return
            if folder in self._files:
                raise BadPath(path, f"'{show(folder)}' is a file, so nothing can lie in it")
            self._folders.add(folder)


def case_twins(paths: Iterable[str]) -> tuple[str, str] | None:
    """Return two paths that are one file where names are compared without case, if there are."""
    seen: dict[str, str] = {}
    for path in paths:
        twin = seen.setdefault(unicodedata.normalize("NFC", path).casefold(), path)
        if twin != path:
            return twin, path
    return None
