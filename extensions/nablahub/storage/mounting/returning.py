"""Bringing a copy back into its bucket: only what was changed, and nothing that others changed.

Every object is compared by its ETag with what was copied, just before it is written or deleted.
What cannot be written back is told, and stays where it is.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nablahub.core.errors import NablaError
from nablahub.core.objects import PART
from nablahub.core.quantities import human
from nablahub.storage.mounting.copying import Tell, state
from nablahub.storage.mounting.inside import Inside
from nablahub.storage.mounting.record import Record, add_line, data, read_lines
from nablahub.storage.mounting.remote import Content, Readable, RemoteFolder

AT_ONCE: Final = 8
#: For the files of a write-back that fails.
SHOWN: Final = 5
#: Where what could not be written back is found, among a job's artifacts.
UNSAVED: Final = "not-written-back"


@dataclass(frozen=True)
class Returned:
    """What came of it.

    Parameters
    ----------
    written, deleted : int
        How many files.
    bytes : int
        Of those that were written.
    failed : dict of str to str
        Path → why it is not in the bucket.
    odd : list of str
        What is no file and no folder, such as links.
    """

    written: int
    deleted: int
    bytes: int
    failed: dict[str, str]
    odd: list[str]

    @property
    def words(self) -> str:
        """A sentence."""
        return f"{self.written} files ({human(self.bytes)}) written, {self.deleted} deleted."

    @property
    def complaint(self) -> str:
        """Sentences about what failed."""
        first = list(self.failed.items())[:SHOWN]
        shown = [f"{path}: {why.rstrip('.')}" for path, why in first]
        more = len(self.failed) - len(shown)
        return "; ".join([*shown, *([f"and {more} more"] if more else [])]) + "."


def bring_back(target: RemoteFolder, folder: Path) -> Returned:
    """Write what was changed in a copy back, and return what came of it; may be repeated."""
    with _inside(folder) as inside:
        return _Returning(target, folder, inside).run()


def give_back(open_: Callable[[], RemoteFolder], folder: Path, name: str, tell: Tell) -> str:
    """Write what was changed in a copy back, and return in sentences what was not; else nothing.

    Parameters
    ----------
    open_ : callable
        Opens the folder of the bucket.
    folder : pathlib.Path
        The mount's own folder.
    name : str
        The mount's name, for people.
    tell : callable
        Is told what was done.
    """
    try:
        target = open_()
        done = bring_back(target, folder)
    except (NablaError, OSError) as error:
        said = str(error) if isinstance(error, NablaError) else f"{error.strerror}."
        return f"Not everything was written back: {said}"
    for odd in done.odd[:5]:
        tell(f"Not written back, since a bucket has only files: {odd!r}.")
    if not done.failed:
        tell(f"Wrote {name} to {target.place} back: {done.words}")
        return ""
    failed = f"{len(done.failed)} files were not written back to {target.place}:"
    return f"{failed} {done.complaint}"


def kept(lost: Iterable[str]) -> str:
    """Return the sentences about what was not written back, and where it is now."""
    return f"{' '.join(lost)} They are kept among the job's artifacts, in {UNSAVED}/."


def unsaved(folder: Path) -> dict[str, Path]:
    """Return the files of a copy that are not in the bucket as they are here."""
    before = _known(folder)
    with _inside(folder) as inside:
        found = dict(inside.files([], strict=False))
    return {p: data(folder) / p for p, now in found.items() if not _same(before.get(p), now)}


def _inside(folder: Path) -> Inside:
    record = Record.load(folder)
    return Inside(data(folder), record.number if record is not None else 0)


def _known(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what the bucket holds, as far as we know: as it was copied, and written since."""
    known = {row["path"]: row for row in read_lines(folder / "listing")}
    for row in read_lines(folder / "written"):
        if row["etag"] is None:
            known.pop(row["path"], None)
        else:
            known[row["path"]] = row
    return known


def _same(known: dict[str, Any] | None, now: os.stat_result) -> bool:
    return known is not None and state(now).items() <= known.items()


class _Returning:
    def __init__(self, remote: RemoteFolder, folder: Path, inside: Inside) -> None:
        self._remote, self._inside = remote, inside
        self._before = _known(folder)
        self._journal = folder / "written"
        self._lock = threading.Lock()
        self._failed: dict[str, str] = {}
        self._counts = {"written": 0, "deleted": 0, "bytes": 0}

    def run(self) -> Returned:
        odd: list[str] = []
        there = dict(self._inside.files(odd))
        changed = [p for p, now in there.items() if not _same(self._before.get(p), now)]
        gone = [path for path in self._before if path not in there]
        work: list[tuple[Callable[[str], None], str]] = [
            *((self._write, path) for path in sorted(changed)),
            *((self._delete, path) for path in sorted(gone)),
        ]
        with ThreadPoolExecutor(AT_ONCE, "nablahub-s3-return") as pool:
            list(pool.map(lambda step: self._try(*step), work))
        return Returned(failed=dict(sorted(self._failed.items())), odd=odd, **self._counts)

    def _try(self, do: Callable[[str], None], path: str) -> None:
        try:
            do(path)
        except NablaError as error:
            why_not = error.detail
        except OSError as error:
            why_not = error.strerror or "it cannot be read"
        else:
            return
        with self._lock:
            self._failed[path] = why_not

    def _write(self, path: str) -> None:
        try:
            file = self._inside.open(path)
        except FileNotFoundError:
            return  # It was deleted or moved just now: the next look sees it.
        known = self._before.get(path, {}).get("etag")
        with file as content:
            now = state(os.fstat(content.fileno()))

            def from_start() -> Readable:
                content.seek(0)
                return content

            own = etag_of(content)
            etag = own
            if own != known:  # Else it was only touched.
                etag = self._remote.write(path, Content(from_start, now["size"], own), known)
                self._count("written", now["size"])
        self._note({**now, "path": path, "etag": etag})

    def _delete(self, path: str) -> None:
        self._remote.remove(path, self._before[path]["etag"])
        self._note({"path": path, "etag": None})
        self._count("deleted")

    def _note(self, row: dict[str, Any]) -> None:
        with self._lock:
            add_line(self._journal, row)

    def _count(self, what: str, size: int = 0) -> None:
        with self._lock:
            self._counts[what] += 1
            self._counts["bytes"] += size


def etag_of(content: Any) -> str:
    """Return the ETag that an object of these bytes has when it is written by us.

    The MD5; of several parts the MD5 of their MD5s, and their number.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html
    """
    digests: list[bytes] = []
    total = 0
    while True:
        digest, size = hashlib.md5(usedforsecurity=False), 0
        while size < PART and (piece := content.read(min(PART - size, 1 << 20))):
            digest.update(piece)
            size += len(piece)
        total += size
        if size or not digests:
            digests.append(digest.digest())
        if size < PART:
            break
    if total < PART:
        return digests[0].hex()
    whole = hashlib.md5(b"".join(digests), usedforsecurity=False).hexdigest()
    return f"{whole}-{len(digests)}"
