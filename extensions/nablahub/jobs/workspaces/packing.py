"""From a folder to the archive that goes with a job; the same folder always makes the same one.

What Git would ignore is left out: ``.gitignore`` and ``.nablahubignore`` in any folder, in that
order, by the rules of https://git-scm.com/docs/gitignore. ``.git`` itself always is.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import stat
import tarfile
from dataclasses import dataclass, field
from heapq import nlargest
from pathlib import Path
from typing import IO, TYPE_CHECKING, BinaryIO, Final, NamedTuple, cast

from nablahub.core.errors import Invalid, Unavailable
from nablahub.datasets.sending import Progress
from nablahub.jobs.workspaces.errors import BadWorkspace, WorkspaceTooLarge
from nablahub.jobs.workspaces.types import LARGEST, MOST

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

IGNORES: Final = (".gitignore", ".nablahubignore")
_ALWAYS: Final = frozenset({".git"})
_SHOWN: Final = 10


class Found(NamedTuple):
    """A file of a workspace: its path there, where it lies, its bytes, whether it may be run."""

    path: str
    file: str
    size: int
    executable: bool


class _Rules(NamedTuple):
    """The patterns of one folder, from which on their paths count (``""`` or ``"a/b/"``)."""

    base: str
    spec: GitIgnoreSpec


@dataclass
class Folder:
    """What of a folder goes with a job, sorted by path; ``empty`` are folders without content."""

    files: list[Found] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(found.size for found in self.files)


def look(root: Path) -> Folder:
    """Find what of a folder goes with a job.

    Raises
    ------
    BadWorkspace
        It is no folder, or has a link that leads out of it, a pipe, a device or a socket.
    WorkspaceTooLarge
        Naming the largest files.
    """
    if not root.is_dir():
        raise BadWorkspace(f"{root} is no folder.", hint="A workspace is a folder.")
    found = Folder()
    _walk(os.path.realpath(root), "", (), found)
    found.files.sort()
    found.empty.sort()
    if found.size > LARGEST:
        largest = nlargest(_SHOWN, found.files, key=lambda each: each.size)
        raise WorkspaceTooLarge.of(found.size, [(each.path, each.size) for each in largest])
    return found


def _walk(root: str, base: str, rules: tuple[_Rules, ...], found: Folder) -> None:
    here = f"{root}/{base}"
    rules = (*rules, *_rules_of(here, base))
    count = 0
    with os.scandir(here) as entries:
        for entry in sorted(entries, key=lambda each: each.name):
            path = base + entry.name
            folder = entry.is_dir(follow_symlinks=False)
            if entry.name in _ALWAYS or _ignored(path + "/" if folder else path, rules):
                continue
            count += 1
            if folder:
                _walk(root, f"{path}/", rules, found)
            else:
                found.files.append(_file(root, path, entry))
            if len(found.files) + len(found.empty) > MOST:
                raise WorkspaceTooLarge.of_many()
    if not count and base:
        found.empty.append(base.rstrip("/"))


def _rules_of(folder: str, base: str) -> list[_Rules]:
    lines: list[str] = []
    for name in IGNORES:
        try:
            lines += Path(folder, name).read_text(encoding="utf-8", errors="replace").splitlines()
        except (FileNotFoundError, IsADirectoryError):
            continue
    if not lines:
        return []
    try:
        # Environments of jobs have the client, and not all that it needs where folders are packed.
        from pathspec import GitIgnoreSpec
    except ImportError as error:
        raise Unavailable(
            "What .gitignore says can't be read here: the package `pathspec` is missing.",
            hint="Install it: pip install pathspec.",
        ) from error
    try:
        return [_Rules(base, GitIgnoreSpec.from_lines(lines))]
    except ValueError as error:
        name = f"{base}{IGNORES[0]}"
        raise BadWorkspace(
            f"A pattern in '{name}' or beside it in {IGNORES[1]} can't be read: {error}.",
            hint="Correct that line.",
        ) from error


def _ignored(path: str, rules: tuple[_Rules, ...]) -> bool:
    """Whether patterns leave a path out: those of the deepest folder that say anything decide."""
    for base, spec in reversed(rules):
        decided = spec.check_file(path[len(base) :]).include
        if decided is not None:
            return bool(decided)
    return False


def _file(root: str, path: str, entry: os.DirEntry[str]) -> Found:
    file = entry.path
    if entry.is_symlink():
        file = os.path.realpath(file)
        if not file.startswith(f"{root}/"):
            raise BadWorkspace.of(path, "it is a link that leads out of the folder")
    try:
        info = os.stat(file, follow_symlinks=False)  # noqa: PTH116 (of perhaps many files)
    except OSError as error:
        raise BadWorkspace.of(path, f"it can't be read ({error.strerror})") from error
    if stat.S_ISDIR(info.st_mode):
        raise BadWorkspace.of(path, "it is a link to a folder")
    if not stat.S_ISREG(info.st_mode):
        raise BadWorkspace.of(path, "it is a pipe, a socket or a device")
    return Found(path, file, info.st_size, bool(info.st_mode & stat.S_IXUSR))


def pack(folder: Folder, target: BinaryIO, progress: Progress) -> str:
    """Write a folder's compressed archive and return its digest.

    Names, bytes and "may be run" are in it and nothing else: no times, no owner.

    Raises
    ------
    BadWorkspace
        A file changed while it was read.
    """
    with gzip.GzipFile("", "wb", 6, target, mtime=0) as packed:
        hashed = _Hashed(packed)
        sink = cast("IO[bytes]", hashed)
        done = 0
        with tarfile.open(mode="w|", fileobj=sink, format=tarfile.PAX_FORMAT) as archive:
            for name in folder.empty:
                entry = tarfile.TarInfo(name)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(entry)
            for found in folder.files:
                _add(archive, found)
                done += found.size
                progress(done, folder.size)
    return hashed.digest.hexdigest()


def _add(archive: tarfile.TarFile, found: Found) -> None:
    entry = tarfile.TarInfo(found.path)
    entry.size, entry.mode = found.size, 0o755 if found.executable else 0o644
    try:
        # Whatever took the file's place meanwhile: no link is followed, and no pipe waited for.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(found.file, flags), "rb") as file:
            archive.addfile(entry, file)
            whole = os.fstat(file.fileno()).st_size == found.size
    except OSError as error:
        raise BadWorkspace.of(found.path, f"it can't be read ({error})") from error
    if not whole:
        raise Invalid(
            f"'{found.path}' changed while it was being read.",
            hint="Wait until whatever writes it has finished, then try again.",
        )


class _Hashed:
    """Hashes what is written on its way."""

    def __init__(self, target: gzip.GzipFile) -> None:
        self._target = target
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Write bytes."""
        self.digest.update(data)
        return self._target.write(data)
