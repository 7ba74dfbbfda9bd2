"""Whether a mount that is made now is seen in a server that runs already (mount_namespaces(7)).

A sandbox sees what is mounted later below a folder it was shown, where that folder lies on a
shared mount: systemd makes all of them shared, a container's are private.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import psutil

from nablahub.core.identity import BUCKETS
from nablahub.mounts.view import READ

NOT_SHARED: Final = (
    "What is mounted by FUSE now would not be seen in a server that runs already, since its folder "
    "is on no shared mount (an administrator makes it one: `mount --make-rshared /`)."
)
_BELOW: Final = f"{BUCKETS}/{READ}"
_ESCAPED: Final = re.compile(r"\\([0-7]{3})")


#: Where something is mounted → with which other mounts it shares what is mounted below.
Table = dict[str, dict[str, str]]


def unseen(folder: Path, keeper: int) -> str:
    """Return why a server would not see what is mounted below a folder; empty when it would.

    Parameters
    ----------
    folder : pathlib.Path
        What it is shown.
    keeper : int
        The process above the server.
    """
    inside = _sandbox(keeper)
    if inside is None:
        return ""  # It has no sandbox, and sees what we see.
    shown = inside.get(_BELOW)
    if shown is None:
        return "The server was started by an earlier release: restart it to see mounts by FUSE."
    peers = _peers(folder)
    return "" if peers is not None and shown.get("master") == peers else NOT_SHARED


def is_shared(folder: Path) -> bool:
    """Whether what is mounted below a folder is seen by who is shown the folder from now on."""
    return _peers(folder) is not None


def seen(name: str, keeper: int) -> bool:
    """Whether a server sees a mount of that name."""
    inside = _sandbox(keeper)
    return inside is None or f"{_BELOW}/{name}" in inside


def _sandbox(keeper: int) -> Table | None:
    """Return the mounts that are seen in a server's sandbox; None when it has none."""
    own = _namespace(os.getpid())
    try:
        below = psutil.Process(keeper).children(recursive=True)
    except psutil.NoSuchProcess:
        return {}
    tables = [_table(p.pid) for p in below if _namespace(p.pid) not in (None, own)]
    if not tables:
        return None
    # The outermost, since code may make namespaces of its own; any may have ended just now.
    return next((table for table in tables if _BELOW in table), {})


def _namespace(pid: int) -> str | None:
    try:
        return os.readlink(f"/proc/{pid}/ns/mnt")  # noqa: PTH115 (it is no path)
    except OSError:
        return None


def _peers(folder: Path) -> str | None:
    """Return which mounts share what is mounted below a folder; None when none do."""
    path = Path(os.path.realpath(folder))
    holding = {at: tags for at, tags in _table("self").items() if path.is_relative_to(at)}
    return holding[max(holding, key=len)].get("shared")


def _table(pid: int | str) -> Table:
    """Read the mounts that a process sees (proc_pid_mountinfo(5)); empty when it has ended."""
    found: Table = {}
    try:
        table = Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return found
    for line in table.splitlines():
        words = line.split(" ")
        tags = [word.partition(":") for word in words[6 : words.index("-")]]
        at = _ESCAPED.sub(lambda code: chr(int(code[1], 8)), words[4])
        # Of several at one place the last one covers the others.
        found[at] = {name: number for name, _, number in tags}
    return found
