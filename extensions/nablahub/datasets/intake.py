"""Taking bytes in: packs and large objects, proved while they arrive, in flat memory."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from nablahub.core.errors import TooLarge
from nablahub.core.objects import CHUNK, ObjectStore, full_storage
from nablahub.core.quantities import human
from nablahub.datasets.errors import BadObject, ObjectBusy, UploadLost, UploadOffset
from nablahub.datasets.layout import pack_key
from nablahub.datasets.packs import HEAD, PACK_COUNT, PACK_LIMIT, ROW, PackChecker
from nablahub.datasets.proving import provers

LARGEST_PACK: Final = HEAD + ROW * PACK_COUNT + PACK_LIMIT


class Received(NamedTuple):
    """What arrived: bytes and number of objects."""

    size: int
    objects: int


class PackReceiver:
    """Stores a pack while it comes; it is seen when all of it was right.

    Where it comes to lie in a file of this machine it is proved there, by another process.

    Use it in a ``with`` block; leaving it without :meth:`finish` forgets what came.
    """

    def __init__(self, store: ObjectStore, dataset: str, pack: str) -> None:
        self._name = pack
        self._writer = store.create(pack_key(dataset, pack))
        self._checker = PackChecker(pack) if self._writer.local() is None else None
        self._size = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes; BadObject or TooLarge when they can't be a pack's."""
        self._size += len(data)
        if self._size > LARGEST_PACK:
            raise TooLarge(
                f"A pack has at most {human(LARGEST_PACK)}.", hint="Send several smaller ones."
            )
        if self._checker is not None:
            self._checker.feed(data)
        self._writer.write(data)

    def finish(self) -> Received:
        """Prove the end and make the pack last."""
        if self._checker is not None:
            count = self._checker.finish().count
        elif (file := self._writer.local()) is not None:
            count = provers().prove_file(self._name, file)
        else:
            raise AssertionError("unreachable")
        self._writer.commit()
        return Received(self._size, count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._writer.__exit__(kind, error, trace)


class _Hashes:
    """Both digests of a file's first bytes."""

    def __init__(self) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha256 = hashlib.sha256()
        self.offset = 0

    def update(self, data: bytes | memoryview) -> None:
        self.md5.update(data)
        self.sha256.update(data)
        self.offset += len(data)

    def catch_up(self, file: Path) -> None:
        """Hash what a process before this one had received."""
        with file.open("rb") as opened:
            opened.seek(self.offset)
            while data := opened.read(CHUNK):
                self.update(data)


class Parts:
    """Large objects that arrive in pieces, each a file that grows; they survive a restart.

    Parameters
    ----------
    root : pathlib.Path
        Folder for them, on the file system of the store.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._hashes: dict[Path, _Hashes] = {}
        self._busy: set[Path] = set()
        self._lock = threading.Lock()

    def path(self, dataset: str, md5: str) -> Path:
        """Return where an object's first bytes are collected, whichever upload they came with."""
        return self.root / dataset / md5

    def arrived(self, file: Path) -> int:
        """Return how many bytes of an object have arrived."""
        with suppress(FileNotFoundError):
            return file.stat().st_size
        return 0

    @contextmanager
    def claim(self, file: Path) -> Iterator[None]:
        """Keep an object for one request, from its first byte to the row that counts it.

        Raises
        ------
        ObjectBusy
            When another request has it.
        """
        with self._lock:
            if file in self._busy:
                raise ObjectBusy
            self._busy.add(file)
        try:
            yield
        finally:
            with self._lock:
                self._busy.discard(file)

    @contextmanager
    def piece(self, file: Path, offset: int) -> Iterator[PieceWriter]:
        """Append a piece that begins at ``offset``; the object must be claimed.

        Raises
        ------
        UploadOffset
            When something else has arrived.
        """
        if (arrived := self.arrived(file)) != offset:
            raise UploadOffset(offset, arrived)
        with full_storage(self.root):
            file.parent.mkdir(parents=True, exist_ok=True)
            hashes = self._hashes.setdefault(file, _Hashes())
            if hashes.offset > offset:
                hashes = self._hashes[file] = _Hashes()
            if hashes.offset < offset:
                hashes.catch_up(file)
            with file.open("ab", 0) as opened:
                yield PieceWriter(opened.fileno(), hashes, self.root)

    def prove(self, file: Path, md5: str, sha256: str) -> None:
        """Prove that a whole object has come; a wrong one is thrown away.

        Raises
        ------
        BadObject
            When its bytes are others than was said.
        UploadLost
            When it is gone.
        """
        hashes = self._hashes.pop(file, None) or _Hashes()
        if not file.exists():  # It went with an upload that was cancelled.
            raise UploadLost
        if hashes.offset != self.arrived(file):
            hashes = _Hashes()
            hashes.catch_up(file)
        if hashes.md5.hexdigest() != md5 or hashes.sha256.hexdigest() != sha256:
            self.discard(file)
            raise BadObject(
                f"The object {md5} does not have the bytes that its digests promise: it was "
                "damaged on the way or changed while it was read.",
                hint="Send it again.",
            )

    def discard(self, file: Path) -> None:
        """Delete what has arrived of an object."""
        self._hashes.pop(file, None)
        file.unlink(missing_ok=True)

    def forget(self, dataset: str) -> None:
        """Delete what has arrived for a dataset."""
        folder = self.root / dataset
        for file in [f for f in self._hashes if f.parent == folder]:
            del self._hashes[file]
        shutil.rmtree(folder, ignore_errors=True)


class PieceWriter:
    """Appends to an object that is arriving."""

    def __init__(self, descriptor: int, hashes: _Hashes, root: Path) -> None:
        self._descriptor = descriptor
        self._hashes = hashes
        self._root = root

    @property
    def arrived(self) -> int:
        """Bytes of the whole object so far."""
        return self._hashes.offset

    def write(self, data: bytes) -> None:
        """Append bytes; StorageFull when the disk is full."""
        view = memoryview(data)
        with full_storage(self._root):
            while len(view):
                count = os.write(self._descriptor, view)
                self._hashes.update(view[:count])
                view = view[count:]
