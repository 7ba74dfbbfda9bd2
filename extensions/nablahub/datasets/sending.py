"""The client's half of an upload: hash once, ask what is missing, send packs while hashing on."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from nablahub.core.errors import NotFound, QuotaExceeded, StorageFull, Unavailable
from nablahub.core.transport import Transport
from nablahub.datasets.errors import (
    DamagedManifest,
    MissingObjects,
    NoSuchVersion,
    ObjectBusy,
    UploadLost,
    UploadOffset,
)
from nablahub.datasets.hashing import Hashed, Small
from nablahub.datasets.index import save
from nablahub.datasets.manifest import Entry, Root, Rows, paginate
from nablahub.datasets.packs import PACK_BYTES, SMALL, build_head, pack_name
from nablahub.datasets.patience import patiently
from nablahub.datasets.pools import wait_all
from nablahub.datasets.scan import Found, digest, read_range
from nablahub.datasets.snapshot import Snapshot
from nablahub.datasets.workers import Workers

if TYPE_CHECKING:
    from nablahub.datasets.direct import DirectSender

#: Called with the bytes that are done and those of all files.
Progress = Callable[[int, int], None]
PIECE: Final = 32 * 1024 * 1024
#: Packs that are on their way while as many are hashed as there are processors.
SENDING: Final = 2
#: Most files of one pack: their hashes are asked for in one request.
GROUP: Final = 16_384
#: Seconds between looks at an object that somebody else sends, and how long it may stand still.
WAIT: Final = 0.25
PATIENCE: Final = 60.0
BINARY: Final = {"Content-Type": "application/octet-stream"}


def silent(_done: int, _total: int) -> None:
    """Report nothing."""


class Sender:
    """Uploads a folder or file as one new version.

    What arrived in an earlier attempt is not sent again: the hub is asked first, by hashes. What
    did not change since the folder was last committed from here is not even read.

    Parameters
    ----------
    hub : Transport
        How to reach the hub.
    dataset : str
        Id or name of the dataset.
    progress : callable
        See :data:`Progress`.
    """

    def __init__(self, hub: Transport, dataset: str, progress: Progress = silent) -> None:
        self._hub = hub
        self._dataset = f"/datasets/{quote(dataset, safe='')}"
        self._progress = progress
        self._lock = threading.Lock()
        self._done = 0
        self._total = 0
        self._direct: DirectSender | None = None

    def send(
        self, source: Path, *, message: str = "", origin: str = "upload", again: bool = False
    ) -> dict[str, Any]:
        """Send everything and commit; return the version as the hub shows it.

        Parameters
        ----------
        again : bool
            Make a version even when the latest one is the same tree.

        Raises
        ------
        BadPath, ChangedWhileRead
            Before or while files are read.
        QuotaExceeded, StorageFull
            Nothing of it stays on the hub then.
        """
        latest = self._latest()
        if latest is not None and latest["damaged"]:
            latest, again = None, True  # All of it is offered again: the hub lacks some.
        snapshot = Snapshot(source, None if latest is None else latest["digest"])
        if latest is not None and not again and snapshot.unchanged:
            return latest
        try:
            made = self._attempt(snapshot, latest, message, origin, again)
        except (DamagedManifest, MissingObjects, UploadLost, NotFound):
            # Another upload had some of the bytes, and was cancelled between question and commit;
            # or the version that this one is told by its differences from is deleted or damaged.
            snapshot = Snapshot(source, None)
            made = self._attempt(snapshot, None, message, origin, again)
        if snapshot.whole:
            save(snapshot.root, snapshot.known_now(made["digest"]))
        return made

    def _latest(self) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._hub.get(f"{self._dataset}/versions/latest")
        except NoSuchVersion:
            return None
        return found

    def _attempt(
        self,
        snapshot: Snapshot,
        latest: dict[str, Any] | None,
        message: str,
        origin: str,
        again: bool,
    ) -> dict[str, Any]:
        self._done, self._total = 0, snapshot.size
        made = self._hub.post(f"{self._dataset}/uploads", {"message": message, "source": origin})
        upload = f"{self._dataset}/uploads/{made['version']}"
        self._direct = _direct_sender(self._hub, upload) if made["direct"] else None
        unread = snapshot.unread
        self._report(snapshot.size - sum(found.size for found in unread))
        try:
            lines = self._send_files(snapshot, unread, upload, asks=made["packs"] > 0)
        except (QuotaExceeded, StorageFull):
            self._hub.delete(upload)
            raise
        finally:
            if self._direct is not None:
                self._direct.close()
        params = {}
        if latest is not None and snapshot.index.manifest:
            changed = snapshot.changed()
            if not changed and not snapshot.gone and not again:
                self._hub.delete(upload)
                return latest
            params["base"] = latest["version"]
            text = b"".join(map(lines.__getitem__, changed))
            text = "".join([f"- {path}\n" for path in snapshot.gone]).encode() + text
        else:
            text = b"".join(map(lines.__getitem__, sorted(lines)))
            if latest is not None and not again and _is_same(text, latest):
                self._hub.delete(upload)
                return latest
        headers = {"Content-Type": "text/plain; charset=utf-8"}
        found: dict[str, Any] = self._hub.request(
            "POST", f"{upload}/commit", content=text, headers=headers, params=params
        )
        return found

    def _send_files(
        self, snapshot: Snapshot, unread: list[Found], upload: str, *, asks: bool
    ) -> dict[str, bytes]:
        """Send the bytes of files and return the line of each in the manifest."""
        small = [found for found in unread if found.size <= SMALL]
        large = [found for found in unread if found.size > SMALL]
        lines: dict[str, bytes] = {}

        def take(group: list[Small]) -> None:
            hashed = self._pack(workers, group, upload, asks=asks)
            paths, digests = [file.path for file in group], hashed.digests
            lines.update(zip(paths, hashed.lines.splitlines(keepends=True), strict=True))
            parts = [digests[place : place + 48] for place in range(0, len(digests), 48)]
            snapshot.learned.update(zip(paths, parts, strict=True))

        def take_large(found: Found) -> None:
            entry = self._large(found, upload)
            snapshot.learned[found.path] = bytes.fromhex(entry.md5 + entry.sha256)
            lines[found.path] = entry.line().encode()

        with Workers(len(small)) as workers:
            work: list[Callable[[], None]] = [partial(take_large, found) for found in large]
            work += [partial(take, group) for group in _groups(small)]
            _all(work, min(max(workers.count, 1) + SENDING, len(work)))
        return lines

    def _report(self, size: int) -> None:
        if not size:
            return
        with self._lock:
            self._done += size
            self._progress(self._done, self._total)

    def _missing(self, upload: str, objects: list[tuple[str, str, int]]) -> list[str]:
        asked = [{"md5": m, "sha256": s, "size": n} for m, s, n in objects]
        answer = self._hub.request("POST", f"{upload}/missing", body={"objects": asked})
        found: list[str] = answer["missing"]
        return found

    def _pack(self, workers: Workers, group: list[Small], upload: str, *, asks: bool) -> Hashed:
        """Hash small files and send those that the hub lacks as one pack."""
        hashed = workers.hash(group)
        rows = list(struct.iter_unpack("<16s32sQ", hashed.table))
        head, data = build_head(rows), hashed.data
        if asks:
            named = [(md5.hex(), sha256.hex(), size) for md5, sha256, size in rows]
            wanted = set(map(bytes.fromhex, self._missing(upload, named)))
            if len(wanted) < len(rows):
                head, data = _only(rows, data, wanted)
        if head:
            name = pack_name(head)
            if self._direct is not None:
                self._direct.send_pack(name, [head, data])
            else:
                path = f"{upload}/packs/{name}"
                self._hub.request("PUT", path, content=[head, data], headers=BINARY)
        self._report(sum(file.size for file in group))
        return hashed

    def _large(self, found: Found, upload: str) -> Entry:
        md5, sha256 = digest(found)
        path = f"{upload}/objects/{md5}"
        if self._direct is not None:
            if self._missing(upload, [(md5, sha256, found.size)]):
                self._direct.send_file(found, md5, sha256, self._report)
            else:
                self._report(found.size)
            return Entry(found.path, found.kind, found.size, md5, sha256)
        arrived, patience, reported = -1, PATIENCE, 0
        while self._missing(upload, [(md5, sha256, found.size)]):
            try:
                reported = self._pieces(found, path, sha256, reported)
                break
            except (ObjectBusy, UploadOffset, Unavailable):
                # Somebody else sends the same bytes, so let them; or the line was cut.
                now = self._arrived(path)
                patience = PATIENCE if now != arrived else patience - WAIT
                arrived = now
                if patience < 0:
                    raise
                time.sleep(WAIT)
        self._report(found.size - reported)
        return Entry(found.path, found.kind, found.size, md5, sha256)

    def _arrived(self, path: str) -> int:
        def look() -> int:
            with self._hub.stream("HEAD", path, tries=1) as answer:
                return int(answer.headers.get("X-Arrived", "0"))

        return patiently(look)

    def _pieces(self, found: Found, path: str, sha256: str, reported: int) -> int:
        """Send what is missing of an object; return how many of its bytes have been reported."""
        arrived = self._arrived(path)
        arrived = arrived if arrived <= found.size else 0
        while True:  # Once at least: with what has all arrived the hub is asked to look at it.
            arrived = self._piece(found, path, sha256, arrived)
            if arrived > reported:
                self._report(arrived - reported)
                reported = arrived
            if arrived >= found.size:
                return reported

    def _piece(self, found: Found, path: str, sha256: str, offset: int) -> int:
        size = min(PIECE, found.size - offset)
        params = {"sha256": sha256, "size": found.size, "offset": offset}
        headers = {**BINARY, "Content-Length": str(size)}
        body = read_range(found, offset, size)
        # Not by `request`, which would send all of it again after the line was cut.
        with self._hub.stream("PUT", path, params=params, content=body, headers=headers) as answer:
            answer.read()
            return int(answer.json()["arrived"])


def _direct_sender(hub: Transport, upload: str) -> DirectSender:
    # Loaded where it is needed: with the API's types it takes a while.
    from nablahub.datasets.direct import DirectSender

    return DirectSender(hub, upload)


def _groups(small: list[Found]) -> Iterator[list[Small]]:
    """Cut small files into what becomes a pack each."""
    group: list[Small] = []
    size = 0
    for found in small:
        if group and (size + found.size > PACK_BYTES or len(group) >= GROUP):
            yield group
            group, size = [], 0
        group.append(found)
        size += found.size
    if group:
        yield group


def _only(
    rows: list[tuple[bytes, bytes, int]], data: bytes, wanted: set[bytes]
) -> tuple[bytes, bytes]:
    """Return head and objects of a pack that has those that are wanted alone; nothing if none."""
    kept: list[tuple[bytes, bytes, int]] = []
    parts: list[bytes] = []
    start = 0
    for row in rows:
        if row[0] in wanted:
            kept.append(row)
            parts.append(data[start : start + row[2]])
        start += row[2]
    return (build_head(kept), b"".join(parts)) if kept else (b"", b"")


def _is_same(text: bytes, latest: dict[str, Any]) -> bool:
    """Whether these lines are the very files of a version."""
    if text.count(b"\n") != latest["files"]:
        return False
    pages = tuple(stored.page for stored in paginate([Rows.of_page(text)]))
    return bool(Root(pages).digest == latest["digest"])


def _all(work: list[Callable[[], None]], threads: int) -> None:
    """Do all of it, and nothing more after the first that fails."""
    if threads <= 1:
        for one in work:
            one()
        return
    with ThreadPoolExecutor(threads, "nablahub-send") as pool:
        futures = [pool.submit(one) for one in work]
        wait_all(futures)
