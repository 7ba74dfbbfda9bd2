"""Reading a folder of this machine: what is in it, and its hashes, in one pass.

Used by the client for uploads and by the service for what jobs leave behind. The second is why
links are never followed out of the tree: a job can write any link, and the hub must not read
through it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from nablahub.core.bodies import PIECE
from nablahub.datasets.errors import BadPath, ChangedWhileRead
from nablahub.datasets.hashing import Small
from nablahub.datasets.manifest import KIND_EXECUTABLE, KIND_FILE
from nablahub.datasets.paths import TreeRules
from nablahub.datasets.paths import show as show_path

_CHUNK: Final = 1024 * 1024
_SPECIAL = {
    stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


#: A file that was found, large or small.
Found = Small


@dataclass
class Scan:
    """A folder's files, sorted by the bytes of their paths, and the folders that are empty."""

    root: Path
    files: list[Found] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(found.size for found in self.files)


def scan(source: Path) -> Scan:
    """Walk a folder (or take one file) and check every path.

    Empty folders are listed but not kept: neither DVC nor a manifest has a place for them.

    Raises
    ------
    BadPath
        For a name that a dataset can't have, a link that leads out of the folder or nowhere, a
        link to a folder, a device, a pipe or a socket.
    FileNotFoundError
        When the source is not there.
    """
    root = Path(os.path.realpath(source))
    info = root.stat()
    result = Scan(root)
    if stat.S_ISREG(info.st_mode):
        result.root = root.parent
        result.files = [Found(source.name, str(root), info.st_size, _kind(info))]
    else:
        _walk(root, result)
    result.files.sort(key=lambda found: os.fsencode(found.path))
    rules = TreeRules()
    for found in result.files:
        rules.add(found.path)
    return result


def _walk(root: Path, result: Scan) -> None:
    todo = [""]
    base = str(root)
    while todo:
        prefix = todo.pop()
        count = 0
        with os.scandir(f"{base}/{prefix}" if prefix else base) as entries:
            for entry in entries:
                count += 1
                path = prefix + entry.name
                if entry.is_symlink():
                    result.files.append(through_link(path, entry.path, base))
                elif entry.is_dir(follow_symlinks=False):
                    todo.append(path + "/")
                else:
                    info = entry.stat(follow_symlinks=False)
                    refuse_special(path, info)
                    result.files.append(Found(path, entry.path, info.st_size, _kind(info)))
        if not count and prefix:
            result.empty.append(prefix[:-1])


def _kind(info: os.stat_result) -> str:
    return KIND_EXECUTABLE if info.st_mode & stat.S_IXUSR else KIND_FILE


def refuse_special(path: str, info: os.stat_result) -> None:
    """Raise BadPath unless it is an ordinary file."""
    if not stat.S_ISREG(info.st_mode):
        what = _SPECIAL.get(stat.S_IFMT(info.st_mode), "not an ordinary file")
        raise BadPath(path, f"it is {what}")


def through_link(path: str, link: str, base: str) -> Found:
    """Take the file a link leads to, when it lies in the same tree and the link is relative."""
    if os.readlink(link).startswith("/"):  # noqa: PTH115 (strings are three times as fast here)
        raise BadPath(path, "it is a link to an absolute path; only links within the folder count")
    target = os.path.realpath(link)
    if not target.startswith(base + "/"):
        raise BadPath(path, "it is a link that leads out of the folder")
    try:
        info = os.stat(target, follow_symlinks=False)  # noqa: PTH116
    except OSError as error:
        raise BadPath(path, "it is a link that leads nowhere") from error
    if stat.S_ISDIR(info.st_mode):
        raise BadPath(path, "it is a link to a folder; copy the folder or leave the link out")
    refuse_special(path, info)
    return Found(path, target, info.st_size, _kind(info))


def read_small(found: Found, limit: int) -> tuple[bytes, bytes, bytes]:
    """Return content, md5 and sha256 of a file of at most ``limit`` bytes, read once.

    Raises
    ------
    ChangedWhileRead
        When it is no longer of the size that was found.
    """
    descriptor = _open(found)
    try:
        data = os.read(descriptor, limit + 1)
        while len(data) < found.size and (more := os.read(descriptor, limit + 1 - len(data))):
            data += more
        if len(data) != found.size or os.fstat(descriptor).st_size != found.size:
            raise ChangedWhileRead(show_path(found.path))
    finally:
        os.close(descriptor)
    md5 = hashlib.md5(data, usedforsecurity=False).digest()
    return data, md5, hashlib.sha256(data).digest()


def read_chunks(found: Found) -> Iterator[bytes]:
    """Yield a file's content in pieces; ChangedWhileRead when its size or time changed."""
    descriptor = _open(found)
    try:
        before = os.fstat(descriptor)
        size = 0
        while data := os.read(descriptor, _CHUNK):
            size += len(data)
            if size > found.size:  # Now, not at its end: it may grow faster than we read.
                raise ChangedWhileRead(show_path(found.path))
            yield data
        after = os.fstat(descriptor)
        if size != found.size or after.st_mtime_ns != before.st_mtime_ns:
            raise ChangedWhileRead(show_path(found.path))
    finally:
        os.close(descriptor)


def read_range(found: Found, start: int, size: int) -> Iterator[bytes]:
    """Yield ``size`` bytes of a file from ``start`` on in pieces that a connection takes well.

    Raises
    ------
    ChangedWhileRead
        When the file is no longer of the size that was found.
    """
    descriptor = _open(found)
    try:
        end = start + size
        while start < end and (data := os.pread(descriptor, min(PIECE, end - start), start)):
            start += len(data)
            yield data
        if start < end or os.fstat(descriptor).st_size != found.size:
            raise ChangedWhileRead(show_path(found.path))
    finally:
        os.close(descriptor)


def _open(found: Found) -> int:
    # O_NONBLOCK: should a pipe have taken the file's place, opening it must not wait for ever.
    return os.open(found.file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def digest(found: Found) -> tuple[str, str]:
    """Return md5 and sha256 of a file in hexadecimal, read in pieces."""
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    for data in read_chunks(found):
        md5.update(data)
        sha256.update(data)
    return md5.hexdigest(), sha256.hexdigest()
