"""Reading what a user's code put into `/artifacts`, without being led out of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from nablahub.jobs.errors import NoSuchArtifact
from nablahub.jobs.types import Artifact

MOST = 10_000


def listed(root: Path) -> list[Artifact]:
    """Return the regular files below a folder, sorted by path; links are left out."""
    found: list[Artifact] = []
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            path = Path(folder, name)
            try:
                status = path.lstat()
                str(path).encode()
            except (OSError, UnicodeEncodeError):
                continue  # Gone meanwhile, too far down, or of a name that no URL can say.
            if stat.S_ISREG(status.st_mode):
                found.append(Artifact(path=str(path.relative_to(root)), size=status.st_size))
            if len(found) >= MOST:
                return found
    return found


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
