"""Making the files and folders of an archive's members, none of which may do harm.

Everything is made new below one folder that nobody else writes to, and no link is ever made: so no
name leads outside but one that says so. Of a member's mode only "may be run" is kept, of its times
and owner nothing.
"""

from __future__ import annotations

import errno
import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from nablahub.core.errors import Invalid
from nablahub.core.objects import check_room, full_storage
from nablahub.core.paths import problem, show
from nablahub.core.quantities import human

_CHUNK: Final = 1 << 20
#: Of a name that no file of this system can have.
_BAD_NAME: Final = frozenset({errno.ENAMETOOLONG, errno.EEXIST, errno.ENOTDIR, errno.EILSEQ})


class BadArchive(Invalid):
    """An archive that is not unpacked, or not wholly: then nothing of it is."""

    code = "bad_archive"

    def __init__(self, wrong: str, member: str | None = None) -> None:
        what = "The archive" if member is None else f"'{show(member)}' in the archive"
        way_out = "Make the archive anew" + (", without that member" if member is not None else "")
        super().__init__(
            f"{what} can't be unpacked: {wrong}.",
            hint=f"Nothing of it was kept. {way_out}, then try again.",
        )


@dataclass(frozen=True)
class Rules:
    """What an archive may be.

    Parameters
    ----------
    size : int
        Bytes of all files together.
    count : int
        Files and folders.
    ratio : int
        How many times its own size it may become. DEFLATE makes at most 1032 of one byte; what is
        200 times as long in all is a bomb, not data.
    harmless : int
        Bytes up to which the ratio does not matter.
    portable : bool
        Whether names must mean the same on every system: no backslash, control character or
        ``%2e``, and no two that differ in their Unicode form only.
    case_twins : bool
        Of portable names: whether two may differ in case only.
    reserve : int or None
        Bytes of the disk that stay free: what leaves less is refused before it is written.
    """

    size: int = 1 << 36
    count: int = 1_000_000
    ratio: int = 200
    harmless: int = 1 << 26
    portable: bool = True
    case_twins: bool = False
    reserve: int | None = None

    def check_ratio(self, size: int, packed: int, member: str | None = None) -> None:
        """Raise BadArchive when bytes became too many more."""
        if size > self.harmless and size > self.ratio * packed:
            raise BadArchive(f"it becomes more than {self.ratio} times as long", member)


class Laying:
    """The members of one archive, as they are made.

    Parameters
    ----------
    target : pathlib.Path
        Where; not there yet.
    rules : Rules
        What the archive may be.
    """

    def __init__(self, target: Path, rules: Rules) -> None:
        self.rules = rules
        self._target = target
        self._files: set[str] = set()
        self._folders: set[str] = {""}
        self._forms: dict[str, str] = {}
        self._size = 0
        target.mkdir(mode=0o700)

    def folder(self, member: str) -> None:
        """Make a folder; one that is there is fine."""
        name = self._checked(member)
        if name in self._files:
            raise BadArchive("a file of that name comes before", member)
        self._folder(name, member)

    def file(
        self, member: str, size: int, read: Callable[[int], bytes], *, executable: bool
    ) -> None:
        """Make a file of exactly ``size`` bytes that ``read`` gives piece by piece."""
        name = self._checked(member)
        if not name:
            raise BadArchive("it is a file without a name", member)
        if name in self._files or name in self._folders:
            raise BadArchive("that name comes twice", member)
        self.reserve(size, member)
        self._folder(name.rpartition("/")[0], member)
        self._count(name, member)
        self._files.add(name)
        with self._made(name, member, 0o700 if executable else 0o600) as file:
            left = size
            while left:
                # Each time: others write to the same disk.
                self._check_room(left)
                if not (data := read(min(left, _CHUNK))):
                    break
                file.write(data)
                left -= len(data)
            if left or read(1):
                raise BadArchive(f"it does not have the {size} bytes that are promised", member)

    def reserve(self, size: int, member: str) -> None:
        """Count bytes that are to come; BadArchive when they are too many."""
        if size < 0:
            raise BadArchive("its size is below zero", member)
        self._size += size
        if self._size > self.rules.size:
            raise BadArchive(f"with it there would be more than {human(self.rules.size)}", member)

    def _check_room(self, size: int) -> None:
        if self.rules.reserve is not None:
            check_room(self._target, size, self.rules.reserve)

    def _checked(self, member: str) -> str:
        """Return a member's name without what means nothing: ``./`` before, ``/`` behind it."""
        name = member
        while name.startswith("./"):
            name = name[2:]
        if member and name in ("", "."):
            return ""
        name = name.removesuffix("/")
        wrong = problem(name) if self.rules.portable else _harm(name)
        if wrong:
            raise BadArchive(wrong, member)
        return name

    def _folder(self, name: str, member: str) -> None:
        missing = []
        while name not in self._folders:
            if name in self._files:
                raise BadArchive(f"'{show(name)}', in which it lies, is a file", member)
            missing.append(name)
            name = name.rpartition("/")[0]
        for folder in reversed(missing):
            self._count(folder, member)
            self._folders.add(folder)
            with _told(member), full_storage(self._target):
                (self._target / folder).mkdir(mode=0o700)

    def _count(self, name: str, member: str) -> None:
        if len(self._files) + len(self._folders) > self.rules.count:
            raise BadArchive(f"with it there would be more than {self.rules.count} files", member)
        if not self.rules.portable:
            return
        form = unicodedata.normalize("NFC", name)
        twin = self._forms.setdefault(form if self.rules.case_twins else form.casefold(), name)
        if twin != name:
            raise BadArchive(
                f"it and '{show(twin)}' differ only in case or in the form of their Unicode "
                "characters, and are one file on some systems",
                member,
            )

    @contextmanager
    def _made(self, name: str, member: str, mode: int) -> Iterator[BinaryIO]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with full_storage(self._target):
            with _told(member):
                made = os.open(self._target / name, flags, mode)
            with os.fdopen(made, "wb") as file:
                yield file


@contextmanager
def _told(member: str) -> Iterator[None]:
    """Turn the system's word on a name into ours."""
    try:
        yield
    except OSError as error:
        if error.errno not in _BAD_NAME:
            raise
        raise BadArchive(f"this system has no such name: {error.strerror}", member) from error


def _harm(name: str) -> str | None:
    """Return what a name could do here, where it need not mean the same elsewhere."""
    if "\0" in name:
        return "it contains a NUL"
    if name.startswith("/"):
        return "it is absolute"
    if ".." in name.split("/"):
        return "it contains '..', which leads out of its folder"
    if not name or not all(part not in ("", ".") for part in name.split("/")):
        return "it contains an empty name or '.'"
    return None
