"""The folder of one mount, by which whoever comes after a kill knows what to do.

===========  ======================================================================================
mount.json   what is mounted, how, and how far it is; written whole, before anything is made
data/        the mount point, or the copy
shown        where that is instead while a server sees it, which began before the mount
listing      of a copy: what was in the bucket, a JSON line for each file; there when it is complete
written      of a copy: the files that have been written back, a JSON line each
uploads      of a copy: the uploads in parts that were begun, a JSON line each
lock         held (flock) by the keeper of a FUSE mount for as long as it lives
cache/       of a FUSE mount: what was read, and what has not yet reached the bucket
===========  ======================================================================================
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal, Self

Stage = Literal["making", "ready", "saved", "failed"]
How = Literal["fuse", "copy"]


@dataclass(frozen=True)
class Record:
    """What is known of one mount.

    Parameters
    ----------
    provider : str
        Id of the storage provider.
    prefix : str
        The folder in it.
    inside : str
        The same with its bucket, ``bucket/folder``.
    read_only : bool
        Whether nothing is ever written to the bucket.
    how : str
        ``fuse`` or ``copy``.
    stage : str
        ``making``, ``ready``, and once it is over ``saved`` or ``failed``.
    words : str
        Why it failed.
    number : int
        Of a copy that somebody else could move: its folder's inode; else 0.
    """

    provider: str
    prefix: str
    inside: str
    read_only: bool
    how: How
    stage: Stage = "making"
    words: str = ""
    number: int = 0

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Read the record of a folder; None when there is none."""
        try:
            return cls(**json.loads((folder / "mount.json").read_text()))
        except (FileNotFoundError, NotADirectoryError, ValueError, TypeError):
            return None

    def save(self, folder: Path) -> Self:
        """Write the record whole."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = folder / f".mount.json.{token_hex(4)}"
        new.write_text(json.dumps(asdict(self)))
        new.replace(folder / "mount.json")
        return self

    def at(self, folder: Path, stage: Stage, words: str = "") -> Self:
        """Write and return the record at a later stage."""
        return replace(self, stage=stage, words=words).save(folder)


def data(folder: Path) -> Path:
    """Return what is shown: the mount point, or the copy."""
    place = folder / "data"
    at = shown_at(folder)
    return place if at is None or place.is_dir() else at


def shown_at(folder: Path) -> Path | None:
    """Return where it is shown outside of its own folder; None when it is not."""
    try:
        return Path((folder / "shown").read_text())
    except FileNotFoundError:
        return None


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write a file of JSON lines whole."""
    new = path.with_name(f".{path.name}.{token_hex(4)}")
    with new.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)
    new.replace(path)


def add_line(path: Path, row: dict[str, Any]) -> None:
    """Add a row to a file of JSON lines."""
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{json.dumps(row)}\n")


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a file of JSON lines; a last one that is torn is left out."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.endswith("\n"):
                yield json.loads(line)


def locked(folder: Path) -> bool:
    """Whether the keeper of a FUSE mount lives."""
    try:
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
