"""The client's half of an upload: hash once, ask what is missing, send packs while hashing on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from nablahub.core.errors import NotFound, QuotaExceeded, StorageFull, Unavailable
from nablahub.core.transport import Transport
from nablahub.datasets.direct import DirectSender
from nablahub.datasets.errors import MissingObjects, ObjectBusy, UploadLost, UploadOffset
from nablahub.datasets.manifest import Entry
from nablahub.datasets.packs import SMALL, PackBuilder
from nablahub.datasets.patience import patiently
from nablahub.datasets.scan import Found, Scan, digest, read_chunks, read_small, scan

#: Called with the bytes that are done and those of all files.
Progress = Callable[[int, int], None]
PIECE: Final = 32 * 1024 * 1024
IN_FLIGHT: Final = 2
#: Seconds between looks at an object that somebody else sends, and how long it may stand still.
WAIT: Final = 0.25
PATIENCE: Final = 60.0
BINARY: Final = {"Content-Type": "application/octet-stream"}


def silent(_done: int, _total: int) -> None:
    """Report nothing."""


class Sender:
    """Uploads a folder or file as one new version.

    What arrived in an earlier attempt is not sent again: the hub is asked first, by hashes.

    Parameters
    ----------
    hub : Transport
        How to reach the hub.
    dataset : str
        Id of the dataset.
    progress : callable
        See :data:`Progress`.
    """

    def __init__(self, hub: Transport, dataset: str, progress: Progress = silent) -> None:
        self._hub = hub
        self._root = f"/datasets/{dataset}/uploads"
        self._progress = progress
        self._done = 0
        self._total = 0
        self._pending: list[Future[None]] = []
        self._direct: DirectSender | None = None

    def send(self, source: Path, *, message: str = "", origin: str = "upload") -> dict[str, Any]:
        """Send everything and commit; return the version as the hub shows it.

        Raises
        ------
        BadPath, ChangedWhileRead
            Before or while files are read.
        QuotaExceeded, StorageFull
            Nothing of it stays on the hub then.
        """
        scanned = scan(source)
        try:
            return self._attempt(scanned, message, origin)
        except (MissingObjects, UploadLost, NotFound):
            # Another upload had some of the bytes, and was cancelled between question and commit.
            return self._attempt(scanned, message, origin)

    def _attempt(self, scanned: Scan, message: str, origin: str) -> dict[str, Any]:
        self._done, self._total = 0, scanned.size
        made = self._hub.post(self._root, {"message": message, "source": origin})
        upload = f"{self._root}/{made['version']}"
        self._direct = DirectSender(self._hub, upload) if made.get("direct") else None
        try:
            with ThreadPoolExecutor(1, "nablahub-send") as pool:
                lines = [entry.line() for entry in self._entries(scanned, upload, pool)]
        except (QuotaExceeded, StorageFull):
            self._hub.delete(upload)
            raise
        finally:
            if self._direct is not None:
                self._direct.close()
        text = "".join(lines).encode()
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        found: dict[str, Any] = self._hub.request(
            "POST", f"{upload}/commit", content=text, headers=headers
        )
        return found

    def _entries(self, scanned: Scan, upload: str, pool: ThreadPoolExecutor) -> Iterator[Entry]:
        builder = PackBuilder()
        self._pending = []
        try:
            for found in scanned.files:
                if found.size > SMALL:
                    yield self._large(found, upload)
                    continue
                data, md5, sha256 = read_small(found, SMALL)
                if not builder.fits(len(data)):
                    self._submit(pool, builder, upload)
                    builder = PackBuilder()
                builder.add(md5, sha256, data)
                yield Entry(found.path, found.kind, found.size, md5.hex(), sha256.hex())
            self._submit(pool, builder, upload)
            self._wait(0)
        except BaseException:
            for future in self._pending:
                future.cancel()
            raise

    def _submit(self, pool: ThreadPoolExecutor, builder: PackBuilder, upload: str) -> None:
        if len(builder):
            self._pending.append(pool.submit(self._pack, builder, upload))
            self._wait(IN_FLIGHT - 1)

    def _wait(self, left: int) -> None:
        while len(self._pending) > left:
            self._pending.pop(0).result()

    def _report(self, size: int) -> None:
        self._done += size
        self._progress(self._done, self._total)

    def _missing(self, upload: str, objects: list[tuple[str, str, int]]) -> list[str]:
        asked = [{"md5": m, "sha256": s, "size": n} for m, s, n in objects]
        answer = self._hub.request("POST", f"{upload}/missing", body={"objects": asked})
        found: list[str] = answer["missing"]
        return found

    def _pack(self, builder: PackBuilder, upload: str) -> None:
        size = builder.size
        objects = [(md5.hex(), sha256.hex(), n) for md5, sha256, n in builder.rows]
        wanted = self._missing(upload, objects)
        if wanted:
            builder.keep(map(bytes.fromhex, wanted))
            data = b"".join(builder.parts())
            name = hashlib.sha256(data).hexdigest()
            if self._direct is not None:
                self._direct.send_pack(name, [data])
            else:
                self._hub.request("PUT", f"{upload}/packs/{name}", content=data, headers=BINARY)
        self._report(size)

    def _large(self, found: Found, upload: str) -> Entry:
        md5, sha256 = digest(found)
        path = f"{upload}/objects/{md5}"
        if self._direct is not None:
            if self._missing(upload, [(md5, sha256, found.size)]):
                self._direct.send_file(found.file, md5, sha256, found.size, self._report)
            else:
                self._report(found.size)
            return Entry(found.path, found.kind, found.size, md5, sha256)
        before, arrived, patience = self._done, -1, PATIENCE
        while self._missing(upload, [(md5, sha256, found.size)]):
            try:
                self._pieces(found, path, sha256)
                break
            except (ObjectBusy, UploadOffset, Unavailable):
                # Somebody else sends the same bytes, so let them; or the line was cut.
                now = self._arrived(path)
                patience = PATIENCE if now != arrived else patience - WAIT
                arrived = now
                if patience < 0:
                    raise
                self._done = before
                time.sleep(WAIT)
        self._done = before
        self._report(found.size)
        return Entry(found.path, found.kind, found.size, md5, sha256)

    def _arrived(self, path: str) -> int:
        def look() -> int:
            with self._hub.stream("HEAD", path, tries=1) as answer:
                return int(answer.headers.get("X-Arrived", "0"))

        return patiently(look)

    def _pieces(self, found: Found, path: str, sha256: str) -> None:
        arrived = self._arrived(path)
        arrived = arrived if arrived <= found.size else 0
        self._report(arrived)
        for data in _pieces_of(found, arrived):
            params = {"sha256": sha256, "size": found.size, "offset": arrived}
            arrived = self._piece(path, params, data)
            self._report(len(data))

    def _piece(self, path: str, params: dict[str, Any], data: bytes) -> int:
        # Not by `request`, which would send all of it again after the line was cut.
        with self._hub.stream("PUT", path, params=params, content=data, headers=BINARY) as answer:
            answer.read()
            return int(answer.json()["arrived"])


def _pieces_of(found: Found, start: int) -> Iterator[bytes]:
    """Yield a file's bytes from ``start`` in large pieces; at least one, empty at the end."""
    gathered, size, skipped = list[bytes](), 0, 0
    sent = False
    for data in read_chunks(found):
        cut = min(max(start - skipped, 0), len(data))
        skipped += len(data)
        if data := data[cut:]:
            gathered.append(data)
            size += len(data)
        if size >= PIECE:
            yield b"".join(gathered)
            gathered, size, sent = [], 0, True
    if gathered or not sent:
        yield b"".join(gathered)
