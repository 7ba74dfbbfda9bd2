"""A copy that is seen where its reader looks, and not in the mount's own folder.

It comes there whole and leaves it whole, each by one rename: while it is made, and from the last
look at it on, nobody else can change it. Meanwhile its reader may have put anything in its place.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from nablahub.storage.mounting.errors import MountFailed
from nablahub.storage.mounting.record import shown_at


def note(folder: Path, at: Path) -> None:
    """Write down that a mount of that folder is shown there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    at.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = folder / f".shown.{token_hex(4)}"
    # As the kernel's table of mounts has it.
    new.write_text(str(at.parent.resolve() / at.name))
    new.replace(folder / "shown")


def put(folder: Path, at: Path, remove: Callable[[Path], None]) -> None:
    """Show a copy that is complete; nothing happens when it is shown."""
    note(folder, at)
    own = folder / "data"
    if not own.is_dir():
        return
    if os.path.lexists(at):  # Nobody has seen ours there yet.
        other = folder / f".other.{token_hex(4)}"
        at.rename(other)
        remove(other)
    try:
        own.rename(at)
    except OSError as error:
        raise MountFailed(f"It cannot be shown at {at}: {error.strerror}.") from error


def take_back(folder: Path, number: int) -> None:
    """Show a copy no more; nothing happens when it is not shown.

    Parameters
    ----------
    number : int
        Its folder's inode.

    Raises
    ------
    MountFailed
        What lies there is not the copy.
    """
    at, own = shown_at(folder), folder / "data"
    if at is None or own.is_dir():
        return
    try:
        at.rename(own)
    except OSError as error:
        raise MountFailed(
            f"Its folder is not where it was: {error.strerror}.", hint=_BACK
        ) from error
    found = own.lstat()
    if found.st_ino != number:
        own.rename(at)
        raise MountFailed("Another folder lies in its place.", hint=_BACK)


def end(folder: Path, remove: Callable[[Path], None]) -> None:
    """Take away what is left where a mount was shown."""
    at = shown_at(folder)
    if at is None:
        return
    try:
        at.rmdir()  # A mount point, or a copy without files.
    except OSError as error:
        if error.errno == errno.ENOENT:
            return
        gone = folder / f".gone.{token_hex(4)}"
        with suppress(OSError):
            at.rename(gone)
            remove(gone)


_BACK = "Put it back to where it was, or unmount it without what was changed."
