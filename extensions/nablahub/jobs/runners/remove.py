"""Removing what a user's code left, however it left it."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path


def remove_tree(path: Path) -> None:
    """Remove a file or folder; symbolic links are not followed.

    Folders without permissions are removed too, and trees of any depth: neither the interpreter's
    stack nor the longest path limits it, because what lies deep is moved up before it is removed.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    path.chmod(0o700)
    top = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        mark = f".gone-{secrets.token_hex(8)}-"
        count = 0
        while folders := _remove_files(top):
            for name in folders:
                with _opened(top, name) as folder:
                    for below in _remove_files(folder):
                        count += 1
                        os.chmod(below, 0o700, dir_fd=folder)
                        os.rename(below, f"{mark}{count}", src_dir_fd=folder, dst_dir_fd=top)
                os.rmdir(name, dir_fd=top)
    finally:
        os.close(top)
    with contextlib.suppress(FileNotFoundError):
        path.rmdir()


def _remove_files(folder: int) -> list[str]:
    """Remove everything of an open folder that is no folder, and return the names of those."""
    folders: list[str] = []
    for name in os.listdir(folder):
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                folders.append(name)
            else:
                os.unlink(name, dir_fd=folder)
    return folders


@contextlib.contextmanager
def _opened(parent: int, name: str) -> Iterator[int]:
    os.chmod(name, 0o700, dir_fd=parent)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=parent)
    try:
        yield fd
    finally:
        os.close(fd)
