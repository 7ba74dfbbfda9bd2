"""Mounts by a copy: what is in the bucket is fetched first, by many requests at once.

Each file is read as it was when the bucket was listed (If-Match), and its place in the listing says
by what it is known as unchanged when the copy is written back.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from nablahub.core.objects import PART, full_storage
from nablahub.core.quantities import human
from nablahub.storage.mounting.errors import MountStopped, MountTooBig
from nablahub.storage.mounting.listing import Listing, list_folder
from nablahub.storage.mounting.record import data, write_lines
from nablahub.storage.mounting.remote import Remote, RemoteFolder

AT_ONCE: Final = 16
#: Seconds between two words about how far it is.
TELL_SECONDS: Final = 2.0

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Wanted:
    """What a copy may cost, and who hears of it.

    Parameters
    ----------
    room : callable
        Tells how many bytes may be put into a folder.
    tell : callable
        Is told how far it is, in sentences.
    stopped : callable
        Whether nobody wants it any more.
    here : str
        What it is copied to, for people.
    why : str
        Why it is copied.
    hint : str
        What to do when there is no room for it.
    """

    room: Callable[[Path], int]
    tell: Tell
    stopped: Callable[[], bool] = bool
    here: str = "this machine"
    why: str = ", which cannot mount it"
    hint: str = (
        "Mount a smaller folder of it, or ask an administrator for room, or for FUSE, which copies "
        "nothing."
    )


def copy(source: RemoteFolder, folder: Path, wanted: Wanted) -> None:
    """Fetch a folder of a bucket to ``data``; what a kill left of it begins anew.

    Raises
    ------
    MountTooBig
        Before anything is fetched, when the disk has no room for it.
    MountStopped
        Soon after it is not wanted any more.
    StoreAway, StoreRefused, MountFailed
    """
    place = source.place
    wanted.tell(f"Looking what is in {place}.")
    found = list_folder(source)
    target = data(folder)
    if target.exists():
        shutil.rmtree(target)
    target.mkdir(mode=0o700, parents=True)
    _check_room(folder, found, place, wanted)
    for path in sorted(found.folders):
        (target / path).mkdir(exist_ok=True)
    count = f"{len(found.files)} files, {human(found.size)}"
    wanted.tell(f"Copying {place} to {wanted.here}{wanted.why}: {count}.")
    with full_storage(folder):
        _Fetching(source, target, found, wanted).run()
    for odd in found.odd[:5]:
        wanted.tell(f"Left out, since no file can be called so: {odd!r}.")
    if len(found.odd) > 5:
        wanted.tell(f"Left out for the same reason: {len(found.odd) - 5} more.")
    rows = (
        {**state((target / f.path).lstat()), "path": f.path, "etag": f.etag}
        for f in found.files.values()
    )
    write_lines(folder / "listing", rows)
    wanted.tell(f"Copied {place}: {count}.")


def _check_room(folder: Path, found: Listing, place: str, wanted: Wanted) -> None:
    """Refuse what the disk has no room for."""
    room = wanted.room(folder)
    # A file takes whole blocks.
    need = found.size + 4096 * (len(found.files) + len(found.folders))
    if need > room:
        raise MountTooBig(
            f"{place} holds {human(found.size)}, and {wanted.here} has room for "
            f"{human(max(room, 0))}.",
            hint=wanted.hint,
        )


def free_but(keep: int) -> Callable[[Path], int]:
    """Return what tells how much room a folder's disk has when so many bytes shall stay free."""
    return lambda folder: shutil.disk_usage(folder).free - keep


def state(found: os.stat_result) -> dict[str, Any]:
    """Return by what a file is known as unchanged; nobody can set the last of it."""
    return {
        "size": found.st_size, "mtime": found.st_mtime_ns, "ino": found.st_ino,
        "ctime": found.st_ctime_ns,
    }  # fmt: skip


class _Fetching:
    """Fetches files, large ones in parts, all of them by the same threads."""

    def __init__(self, source: RemoteFolder, target: Path, found: Listing, wanted: Wanted) -> None:
        self._source, self._target, self._found, self._wanted = source, target, found, wanted
        self._done = 0
        self._told = time.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()

    def run(self) -> None:
        parts = (
            (file, start)
            for file in self._found.files.values()
            for start in range(0, max(file.size, 1), PART)
        )
        with ThreadPoolExecutor(AT_ONCE, "nablahub-s3-copy") as pool:
            running = [pool.submit(self._fetch, file, start) for file, start in parts]
            try:
                while running:
                    done, left = wait(running, 0.2, FIRST_EXCEPTION)
                    for one in done:
                        one.result()
                    running = list(left)
                    if self._wanted.stopped():
                        raise MountStopped("It is not wanted any more.")
            finally:
                self._over.set()

    def _fetch(self, file: Remote, start: int) -> None:
        if self._over.is_set():
            return
        length = min(PART, file.size - start)
        content = self._source.read(file.path, start, length, file.etag)
        flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self._target / file.path, flags, 0o644)
        try:
            at, view = start, memoryview(content)
            while len(view):
                written = os.pwrite(descriptor, view, at)
                at, view = at + written, view[written:]
        finally:
            os.close(descriptor)
        self._count(length)

    def _count(self, size: int) -> None:
        with self._lock:
            self._done += size
            due = time.monotonic() - self._told >= TELL_SECONDS
            if due:
                self._told = time.monotonic()
            done = self._done
        if due:
            total = self._found.size
            percent = f" ({done * 100 // total} %)" if total else ""
            self._wanted.tell(f"Copied {human(done)} of {human(total)}{percent}.")
