"""Bringing a copy back into its bucket: only what was changed, and nothing that others changed.

Every object is compared by its ETag with what was copied, just before it is written or deleted.
What cannot be written back is told, and stays where it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import botocore.exceptions as boto

from nablahub.core.errors import NablaError
from nablahub.core.quantities import human
from nablahub.core.s3 import PART, S3Store
from nablahub.core.s3_errors import told
from nablahub.storage.mounting.copying import state
from nablahub.storage.mounting.inside import Inside
from nablahub.storage.mounting.record import Record, data, read_lines

AT_ONCE: Final = 8
#: For the files of a write-back that fails.
SHOWN: Final = 5


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
        shown = [f"{path}: {why}" for path, why in list(self.failed.items())[:SHOWN]]
        more = len(self.failed) - len(shown)
        return " ".join([*shown, *([f"And {more} more."] if more else [])])


def bring_back(store: S3Store, folder: Path) -> Returned:
    """Write what was changed in a copy back, and return what came of it; may be repeated."""
    with _inside(folder) as inside:
        return _Returning(store, folder, inside).run()


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


class _Conflict(Exception):
    pass


class _Returning:
    def __init__(self, store: S3Store, folder: Path, inside: Inside) -> None:
        self._store, self._inside = store, inside
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
        except _Conflict as why:
            why_not = str(why)
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
        known = self._before.get(path)
        with file as content:
            remote = self._remote(path)
            now = state(os.fstat(content.fileno()))
            own = etag_of(content)
            if remote != own:  # Else it is there already, by whomever.
                if remote is not None and (known is None or remote != known["etag"]):
                    raise _Conflict("the bucket has another one since then")
                if remote is None and known is not None:
                    raise _Conflict("it was deleted in the bucket since then")
                content.seek(0)
                with self._store.create(path) as writer:
                    while part := content.read(1 << 20):
                        writer.write(part)
                    writer.commit()
                own = self._remote(path) or own
        self._note({**now, "path": path, "etag": own}, "written", now["size"])

    def _delete(self, path: str) -> None:
        remote = self._remote(path)
        if remote is not None:
            if remote != self._before[path]["etag"]:
                raise _Conflict("it was to be deleted, and the bucket has another one since then")
            self._store.remove(path)
        self._note({"path": path, "etag": None}, "deleted", 0)

    def _note(self, row: dict[str, Any], what: str, size: int) -> None:
        with self._lock:
            with self._journal.open("a", encoding="utf-8") as journal:
                journal.write(f"{json.dumps(row)}\n")
            self._counts[what] += 1
            self._counts["bytes"] += size

    def _remote(self, path: str) -> str | None:
        """Return the ETag of an object now, None when there is none."""
        key = f"{self._store.root}/{path}".lstrip("/")
        with told(self._store.config):
            try:
                found = self._store.client.head_object(Bucket=self._store.config.bucket, Key=key)
            except boto.ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    return None
                raise
        return str(found["ETag"]).strip('"')


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
