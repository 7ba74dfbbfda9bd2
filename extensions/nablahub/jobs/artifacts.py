"""Reading what a user's code put into `/artifacts`, without being led out of it."""

from __future__ import annotations

import os
import stat
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from nablahub.jobs.errors import NoSuchArtifact
from nablahub.jobs.types import Artifact

_CHUNK = 1024 * 1024
#: 1980-01-01 in seconds: no file in a ZIP file can be older (APPNOTE 4.4.6).
_ZIP_BEGINS = 315_532_800


def listed(root: Path, after: str | None = None) -> Iterator[Artifact]:
    """Yield the regular files below a folder; links are left out.

    The files of a folder come before those of its folders, each by their names.

    Parameters
    ----------
    after
        The path of the file behind which to begin; it need not be there any more.
    """
    passed = None if after is None else _order(after)
    for folder, folders, files in os.walk(root):
        here = str(Path(folder).relative_to(root))
        start = "" if here == "." else f"{here}/"
        if passed is not None:
            # A folder all of whose files came before is not entered again.
            place = _order(f"{start}x")[:-1]
            folders[:] = [n for n in folders if [*place, (1, n)] >= passed[: len(place) + 1]]
        folders.sort()
        for name in sorted(files):
            path = f"{start}{name}"
            if passed is not None and _order(path) <= passed:
                continue
            try:
                status = Path(folder, name).lstat()
                path.encode()
            except (OSError, UnicodeEncodeError):
                continue  # Gone meanwhile, too far down, or of a name that no URL can say.
            if stat.S_ISREG(status.st_mode):
                yield Artifact(path=path, size=status.st_size)


def _order(path: str) -> list[tuple[int, str]]:
    """What paths are compared by, in the order in which they are found."""
    *folders, name = path.split("/")
    return [*((1, folder) for folder in folders), (0, name)]


def opened(root: Path, name: str) -> BinaryIO:
    """Open a regular file below a folder, following no link on the way.

    Raises
    ------
    NoSuchArtifact
        There is no such file.
    """
    parts = PurePosixPath(name).parts
    missing = NoSuchArtifact(
        f"The job has no artifact {name!r}.", hint="It lists those it has at …/artifacts."
    )
    if not parts or ".." in parts or parts[0] == "/" or "\0" in name:
        raise missing
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(root, flags | os.O_DIRECTORY)
        for part in parts:
            parent = fd
            try:
                fd = os.open(part, flags, dir_fd=parent)
            finally:
                os.close(parent)
    except OSError:
        raise missing from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise missing
    return os.fdopen(fd, "rb")


class _Gathered:
    """What has been written since it was last taken; a ZIP file needs no more than that."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        """Keep some bytes."""
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Do nothing: what is kept is taken soon."""

    def take(self) -> bytes:
        """Return what was kept, and forget it."""
        data = b"".join(self._parts)
        self._parts.clear()
        return data


def zipped(root: Path) -> Iterator[bytes]:
    """Yield the bytes of a ZIP file with what :func:`listed` names; memory stays flat.

    What is gone meanwhile is left out; nothing is compressed, since most is already.
    """
    gathered = _Gathered()
    with zipfile.ZipFile(cast(IO[bytes], gathered), "w", allowZip64=True) as archive:
        for item in listed(root):
            try:
                source = opened(root, item.path)
            except NoSuchArtifact:
                continue
            with source, archive.open(_member(source, item.path), "w", force_zip64=True) as target:
                while data := source.read(_CHUNK):
                    target.write(data)
                    yield gathered.take()
    yield gathered.take()


def _member(file: BinaryIO, path: str) -> zipfile.ZipInfo:
    changed = time.gmtime(max(os.fstat(file.fileno()).st_mtime, _ZIP_BEGINS))
    member = zipfile.ZipInfo(path, changed[:6])
    member.external_attr = (stat.S_IFREG | 0o644) << 16
    return member
