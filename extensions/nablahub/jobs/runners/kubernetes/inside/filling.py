"""Putting a version into a folder that many pods read, once, whatever is killed.

Beside the versions lie, in `.filled/<team>`, a lock for each, and a mark that it is whole: the
number of its folder, so that a folder which was made in its place by others is not taken for it,
and its size. The mark's last change is the version's last use. A
version is made under another name and renamed; the mark comes last. In `.names/<team>` it has a
name for people, as servers see it in `/datasets/@cached`.

The locks are of flock(2): on a file system without them (ENOLCK) two who come at once both fill.
Standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FILLED = ".filled"
MAKING = ".making-"
NAMES = ".names"
_libc = ctypes.CDLL(None, use_errno=True)


def fill(root: Path, where: str, download: Callable[[Path], object]) -> bool:
    """Make a version be there; whether it had to be downloaded.

    Parameters
    ----------
    root
        The folder that is shared.
    where
        The version's place in it, `<team>/<name>`.
    download
        Puts the version into a folder that is not there yet.
    """
    target = root / where
    marks = (root / FILLED / where).parent
    mark = marks / target.name
    for folder in (target.parent, marks):
        folder.mkdir(mode=0o770, parents=True, exist_ok=True)
    # Also for a look: who takes it away holds the lock from its question who reads it until then.
    with lock(marks / f"{target.name}.lock") as locked:
        if _whole(target, mark):
            os.utime(mark)
            return False
        if locked:  # Whoever began these is dead.
            for old in target.parent.glob(f"{MAKING}{target.name}-*"):
                remove(old)
        making = target.with_name(f"{MAKING}{target.name}-{secrets.token_hex(4)}")
        try:
            download(making)
            making.mkdir(exist_ok=True)  # Of a version without files.
            _to_disk(making)
            remove(target)  # Without its mark nobody reads it.
            _rename(making, target)
        finally:
            remove(making)
        new = mark.with_name(f"{mark.name}.{secrets.token_hex(4)}")
        new.write_text(f"{target.stat().st_ino} {_size(target)}")
        new.replace(mark)
        _to_disk(marks)
    return True


def name(root: Path, team: str, words: tuple[str, str], goal: str) -> None:
    """Give a version a name for people: a link `<dataset>/<version>`."""
    link = root / NAMES / team / words[0] / words[1]
    link.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
    new = link.with_name(f".{link.name}.{secrets.token_hex(4)}")
    new.symlink_to(goal)
    new.replace(link)


def remove(folder: Path) -> None:
    """Delete a tree, read-only folders and all; what is not there is no error."""
    if not folder.exists():
        return
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o700)
    shutil.rmtree(folder)


def _whole(target: Path, mark: Path) -> bool:
    try:
        return mark.read_text().split()[0] == str(target.stat().st_ino)
    except (OSError, IndexError):
        return False


def _size(tree: Path) -> int:
    """Return how many bytes of the disk a tree takes."""
    return sum(
        os.lstat(path).st_blocks * 512  # stat(2) counts in units of 512 bytes.
        for folder, _, files in os.walk(tree)
        for path in (folder, *(f"{folder}/{name}" for name in files))
    )


def _rename(making: Path, target: Path) -> None:
    try:
        making.rename(target)
    except OSError as error:
        # Without locks somebody else may have been faster.
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise


@contextmanager
def lock(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a version; false where there are no locks, or it is held and not awaited."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.EWOULDBLOCK):
                raise
            yield False
        else:
            yield True
    finally:
        os.close(fd)


def _to_disk(folder: Path) -> None:
    """Return once everything of a file system that was written is on its disk (syncfs(2))."""
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd) != 0:
            raise OSError(ctypes.get_errno(), "syncfs", str(folder))
    finally:
        os.close(fd)
