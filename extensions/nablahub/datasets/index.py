"""What is known of a folder since it was last committed, so that only what changed is read.

A file is taken for unchanged when inode, size, mtime, ctime and mode are those that it had when it
was hashed. One that was written less than :data:`YOUNG` before it was looked at may change again
within the same tick of the clock, so it is hashed once more the next time.

The index of a folder is one file below ``~/.cache/nablahub/scan``::

    8 magic, 8 length of the header (little-endian), header as JSON
    for each folder its names (ended by NUL), then 40 bytes a file (inode, size, mtime, ctime, mode
    as 8-byte integers), then 48 a file (md5, sha256)

The header lists the folders, with the number of files and the bytes of names of each.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import struct
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Final, NamedTuple

from nablahub.datasets.manifest import KIND_EXECUTABLE, KIND_FILE

MAGIC: Final = b"NABLSC1\n"
YOUNG: Final = 2_000_000_000  # ns; the coarsest clock of a file system in use is FAT's, of 2 s.
FIELDS: Final = 5
STAT: Final = 8 * FIELDS
DIGEST: Final = 48
_INT63: Final = 2**63 - 1
_fields = attrgetter("st_ino", "st_size", "st_mtime_ns", "st_ctime_ns", "st_mode")


class Known(NamedTuple):
    """What an index says of one folder: names, stats and digests of its files, in one order."""

    names: bytes
    stats: bytes
    digests: bytes

    def by_name(self) -> dict[str, tuple[bytes, bytes]]:
        """Return stat and digests of each file."""
        names = os.fsdecode(self.names).split("\0")[:-1]
        stats, digests = self.stats, self.digests
        return {
            name: (stats[STAT * i : STAT * i + STAT], digests[DIGEST * i : DIGEST * i + DIGEST])
            for i, name in enumerate(names)
        }


class Index:
    """What is known of a folder.

    Parameters
    ----------
    folders : dict of str to Known
        By path within the folder, which is ``""`` for itself.
    manifest : str
        Digest of the manifest of the version that these files were committed as.
    """

    def __init__(self, folders: dict[str, Known], manifest: str = "") -> None:
        self.folders, self.manifest = folders, manifest


def place_of(root: Path) -> Path:
    """Return where a folder's index lies."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = hashlib.sha256(os.fsencode(root)).hexdigest()[:40]
    return cache / "nablahub" / "scan" / name


def load(root: Path) -> Index:
    """Return a folder's index; an empty one when there is none that can be read."""
    with suppress(OSError, ValueError, KeyError, struct.error):
        data = place_of(root).read_bytes()
        (length,) = struct.unpack_from("<Q", data, 8)
        header = json.loads(data[16 : 16 + length])
        if data[:8] == MAGIC and header["root"] == str(root) and header["device"] == device(root):
            return Index(_folders(data, 16 + length, header["folders"]), header["manifest"])
    return Index({})


def device(root: Path) -> int:
    """Return the file system's number: inodes mean nothing on another."""
    return root.stat().st_dev


def _folders(data: bytes, place: int, listed: list[tuple[str, int, int]]) -> dict[str, Known]:
    found: dict[str, Known] = {}
    for path, count, names in listed:
        middle = place + names
        last = middle + STAT * count
        end = last + DIGEST * count
        if end > len(data):
            raise ValueError("the index is cut off")
        found[path] = Known(data[place:middle], data[middle:last], data[last:end])
        place = end
    return found


def save(root: Path, index: Index) -> None:
    """Keep a folder's index; without room or rights for it there is none."""
    listed = [
        (path, len(known.digests) // DIGEST, len(known.names))
        for path, known in index.folders.items()
    ]
    header = {
        "root": str(root), "device": device(root), "manifest": index.manifest, "folders": listed
    }  # fmt: skip
    text = json.dumps(header).encode()
    target = place_of(root)
    temporary = target.with_name(f"{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(MAGIC + struct.pack("<Q", len(text)) + text)
            for known in index.folders.values():
                file.writelines(known)
        temporary.replace(target)
    except OSError:
        with suppress(OSError):
            temporary.unlink()


@dataclass
class Files:
    """What lies in a folder: names and stats, in one order."""

    names: list[str] = field(default_factory=list)
    infos: list[os.stat_result] = field(default_factory=list)

    def add(self, name: str, info: os.stat_result) -> None:
        """Put one behind the others."""
        self.names.append(name)
        self.infos.append(info)

    def __iter__(self) -> Iterator[tuple[str, os.stat_result]]:
        return zip(self.names, self.infos, strict=True)


class Listed(NamedTuple):
    """A folder as it is now: names (ended by NUL) and stats of its files, and who they are.

    Parameters
    ----------
    size : int
        Bytes of all files together.
    """

    path: str
    names: bytes
    stats: bytes
    size: int


def read_folder(folder: str) -> Files:
    """Return everything in a folder, which is no link, by one stat each."""
    # By its descriptor: the system would walk down the whole path for each file.
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with os.scandir(descriptor) as found:
            entries = list(found)
        infos = [entry.stat(follow_symlinks=False) for entry in entries]
    finally:
        os.close(descriptor)
    return Files([entry.name for entry in entries], infos)


def list_folder(path: str, files: Files) -> Listed:
    """Return a folder's files in the index's form."""
    numbers = list(chain.from_iterable(map(_fields, files.infos)))
    try:
        stats = array("q", numbers)
    except OverflowError:  # Some file systems use all 64 bits of an inode's number.
        numbers[::FIELDS] = [number & _INT63 for number in numbers[::FIELDS]]
        stats = array("q", numbers)
    names = os.fsencode("\0".join([*files.names, ""]))
    return Listed(path, names, stats.tobytes(), sum(numbers[1::FIELDS]))


def without_young(stats: bytes, seen: int) -> bytes:
    """Return stats in which files that were young at a time (ns) look changed."""
    numbers = array("q", stats)
    latest = max([*numbers[2::FIELDS], *numbers[3::FIELDS]], default=0)
    if latest < seen - YOUNG:
        return stats
    limit = seen - YOUNG
    for start in range(0, len(numbers), FIELDS):
        if max(numbers[start + 2], numbers[start + 3]) >= limit:
            numbers[start + 2] = 0  # No file is of that time, so it is read once more.
    return numbers.tobytes()


def kind_of(mode: int) -> str:
    """Return the kind of a regular file of that mode."""
    return KIND_EXECUTABLE if mode & stat.S_IXUSR else KIND_FILE
