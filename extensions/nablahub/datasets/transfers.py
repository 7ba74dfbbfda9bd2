"""Objects on their way into an S3: claimed first, then sent, proved, and counted.

The row of a transfer is committed before anything is stored, so that whatever a crash leaves has a
row that says so. Clients send parts by signed URLs; only the service completes an upload, proves
what came by reading it once, and makes it count.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy.orm import Session

from nablahub.core.s3 import S3Store
from nablahub.core.times import now
from nablahub.datasets import remote_garbage
from nablahub.datasets.errors import BadObject, ObjectBusy, PartsMissing, UploadLost
from nablahub.datasets.intake import LARGEST_PACK, Received
from nablahub.datasets.layout import object_key, pack_key
from nablahub.datasets.packs import HEAD, ROW, PackIndex
from nablahub.datasets.proving import provers
from nablahub.datasets.store import (
    DatasetRow,
    PackRow,
    TransferRow,
    UploadRow,
    damaged,
    is_stored,
)
from nablahub.datasets.threads import in_thread
from nablahub.datasets.transfer_types import Transfer, TransferPart, TransferPlan

if TYPE_CHECKING:
    from nablahub.datasets.building import Building

MIB: Final = 1024 * 1024
#: Stands for the upload of what the service stores anew by itself.
VERIFYING: Final = "verify"
#: Parts have this size, or more where there would be too many of them; S3 wants 5 MiB at least.
PART: Final = 16 * MIB
MOST_PARTS: Final = 1000
#: A larger object is not read while a client waits for its plan, whose patience may be less.
READ_FOR_PLAN: Final = 1024 * MIB
WAITS: Final = 100
WAIT_SECONDS: Final = 0.1


class Target(NamedTuple):
    """Where an object of an upload goes."""

    dataset: DatasetRow
    upload: UploadRow
    store: S3Store
    asked: Transfer
    inside: bool = False

    @property
    def space(self) -> str:
        """See :attr:`DatasetRow.space`."""
        return self.dataset.space

    @property
    def key(self) -> str:
        """The object's key in the store."""
        if self.asked.kind == "pack":
            return pack_key(self.dataset.id, self.asked.name)
        return object_key(self.asked.name)


def part_size(size: int) -> int:
    """Return how large the parts of an object are, in bytes."""
    return max(PART, -(-size // MOST_PARTS // MIB) * MIB + MIB if size > PART * MOST_PARTS else 0)


class Transfers:
    """What is on its way into the S3s of all spaces.

    Everything here blocks and belongs into a thread.
    """

    def __init__(self, building: Building) -> None:
        self._building = building
        self._finishing: set[tuple[str, str]] = set()
        self._tasks: dict[tuple[str, str], tuple[Target, asyncio.Task[None]]] = {}
        self._lock = threading.Lock()

    # What the service itself stores.

    def claim(self, space: str, key: str, kind: str, upload: str) -> None:
        """Say that an object is about to be stored by the service.

        Raises
        ------
        ObjectBusy
            When the same one is being deleted, and that takes long.
        """
        row = TransferRow(
            team_id=space, key=key, upload_id=upload, kind=kind, multipart="", sha256="", size=0,
            part_size=0, created_at=now(),
        )  # fmt: skip
        self._begin(row)

    def _begin(self, row: TransferRow) -> TransferRow:
        """Write a transfer's row, or take up the one that is there; return what holds now."""
        space, key, upload = row.team_id, row.key, row.upload_id

        def begin(session: Session) -> TransferRow | None:
            if remote_garbage.is_doomed(session, space, key):
                return None
            known = session.get(TransferRow, (space, key))
            if known is None:
                session.add(row)
                return row
            # Who sends it already keeps it: this one may be cancelled first.
            if known.upload_id is None or session.get(UploadRow, known.upload_id) is None:
                known.upload_id = upload
            if row.multipart and not known.multipart:
                known.multipart, known.sha256 = row.multipart, row.sha256
                known.size, known.part_size = row.size, row.part_size
            return known

        for _ in range(WAITS):
            found = self._building.write(begin)
            if found is not None:
                return found
            time.sleep(WAIT_SECONDS)  # It is being deleted, maybe by another process.
        raise ObjectBusy

    # What clients store.

    def plan(self, target: Target) -> TransferPlan:
        """Return the parts that a client has to send, with signed URLs.

        Raises
        ------
        OtherBytes, ObjectBusy, DatasetQuota, StoreAway, StoreRefused
        """
        if self._is_counted(target, READ_FOR_PLAN):
            return TransferPlan(part_size=part_size(target.asked.size), arrived=0, parts=[])
        self._building.check_quota(target.space, target.asked.size)
        row, parts = self._open(target)
        sent = target.store.transfers
        missing: list[TransferPart] = []
        arrived = 0
        for number, (offset, size) in enumerate(_cut(row.size, row.part_size), 1):
            if parts.get(number, (0, ""))[0] == size:
                arrived += size
            else:
                url = sent.sign_part(row.key, row.multipart, number, inside=target.inside)
                missing.append(TransferPart(number=number, offset=offset, size=size, url=url))
        return TransferPlan(part_size=row.part_size, arrived=arrived, parts=missing)

    def _open(self, target: Target) -> tuple[TransferRow, dict[int, tuple[int, str]]]:
        """Return a transfer that goes on, or a new one, and what has arrived of it."""
        asked, sent = target.asked, target.store.transfers
        known = self._building.read(lambda s: s.get(TransferRow, (target.space, target.key)))
        if known is not None and known.multipart:
            if _is_of(known, asked):
                parts = sent.parts(known.key, known.multipart)
                if parts is None and self._is_complete(target):
                    whole = enumerate(_cut(known.size, known.part_size), 1)
                    parts = {number: (size, "") for number, (_, size) in whole}
                if parts is not None:
                    return self._begin(_copy(known, target.upload.id)), parts
            self._drop(target, known)
        made = TransferRow(
            team_id=target.space, key=target.key, upload_id=target.upload.id, kind=asked.kind,
            multipart=sent.begin(target.key), sha256=asked.sha256, size=asked.size,
            part_size=part_size(asked.size), created_at=now(),
        )  # fmt: skip
        row = self._begin(made)
        if row.multipart != made.multipart:  # Somebody else began it at the same time.
            sent.abort(target.key, made.multipart)
        return row, sent.parts(row.key, row.multipart) or {}

    def _is_complete(self, target: Target) -> bool:
        """Whether all of it has come, for another request that proves it now, or died before."""
        if target.store.size(target.key) != target.asked.size:
            return False
        space, dataset = target.space, target.dataset.id
        return target.asked.name not in self._building.read(lambda s: damaged(s, space, dataset))

    def _drop(self, target: Target, row: TransferRow) -> None:
        """Give a transfer up, with what arrived of it."""
        target.store.transfers.abort(row.key, row.multipart)

        def drop(session: Session) -> None:
            found = session.get(TransferRow, (row.team_id, row.key))
            if found is not None and found.multipart == row.multipart:
                session.delete(found)

        self._building.write(drop)

    def _is_counted(self, target: Target, most: int | None = None) -> bool:
        """Whether the object is there already; then it is linked to the dataset, too.

        Parameters
        ----------
        most : int or None
            Bytes that may be read where it is said to be damaged; a larger one does not count then.

        Raises
        ------
        OtherBytes
            When other bytes are stored in its place: what comes would be written over them.
        """
        asked = target.asked

        def look(session: Session) -> tuple[bool, bool]:
            broken = damaged(session, target.space, target.dataset.id)
            doubtful = bool(broken) if asked.kind == "pack" else asked.name in broken
            return self._is_there(target, session), doubtful

        found, doubtful = self._building.read(look)
        if found and doubtful:  # What is whole is never put at risk by what comes.
            found = (most is None or asked.size <= most) and self._is_whole(target)
        if found:
            self._count(target, Received(asked.size, 0))
        return found

    @staticmethod
    def _is_there(target: Target, session: Session) -> bool:
        asked = target.asked
        if asked.kind == "pack":
            return session.get(PackRow, (target.dataset.id, asked.name)) is not None
        return is_stored(session, target.space, asked.name, asked.sha256, asked.size)

    def _is_whole(self, target: Target) -> bool:
        try:
            prove(target, self._building.keep_table)
        except (BadObject, FileNotFoundError):
            return False
        return True

    def _count(self, target: Target, got: Received, multipart: str = "") -> None:
        asked, space, upload = target.asked, target.space, target.upload
        count = self._building
        if asked.kind == "pack":
            count.register_pack(space, upload, asked.name, got, multipart)
        else:
            count.register_object(space, upload, asked.name, asked.sha256, asked.size, multipart)

    def finishing(self, target: Target) -> tuple[asyncio.Task[None], bool]:
        """Begin to :meth:`finish` an object, or join who does already; on the event loop.

        Returns
        -------
        tuple of asyncio.Task and bool
            Whether it ends this very transfer; else another upload's of the same object, after
            which this one is to be asked for again.
        """
        place = (target.space, target.key)
        if (known := self._tasks.get(place)) is None:
            task = asyncio.create_task(in_thread(self.finish, target))
            known = self._tasks[place] = target, task
            task.add_done_callback(lambda done: self._ended(place, done))
        theirs, task = known
        return task, (theirs.upload.id, theirs.asked) == (target.upload.id, target.asked)

    def _ended(self, place: tuple[str, str], task: asyncio.Task[None]) -> None:
        del self._tasks[place]
        if not task.cancelled():
            task.exception()  # Whoever asked may be gone; the next one asks anew.

    def finish(self, target: Target) -> None:
        """Complete an object that a client has sent, prove it and make it count.

        Doing it again is no error.

        Raises
        ------
        PartsMissing
            When some parts have not arrived; the plan tells which.
        BadObject
            When its bytes are others than was said; nothing of it is kept.
        OtherBytes
            When others are stored under its md5, which stay.
        ObjectBusy
            When another request is doing the same.
        """
        with self._alone(target.space, target.key):
            if self._is_counted(target):
                return
            row = self._building.read(lambda s: s.get(TransferRow, (target.space, target.key)))
            if row is None or not row.multipart or not _is_of(row, target.asked):
                raise PartsMissing
            self._complete(target, row)
            try:
                got = prove(target, self._building.keep_table)
            except BadObject:
                if not self._building.read(partial(self._is_there, target)):
                    target.store.remove(target.key)
                self._drop(target, row)
                raise
            except FileNotFoundError as error:  # It went with an upload that was cancelled.
                raise PartsMissing from error
            try:
                self._count(target, got, row.multipart)
            except UploadLost as error:
                raise PartsMissing from error

    def _complete(self, target: Target, row: TransferRow) -> None:
        parts = target.store.transfers.parts(row.key, row.multipart)
        if parts is not None:
            wanted = list(enumerate(_cut(row.size, row.part_size), 1))
            if any(parts.get(number, (0, ""))[0] != size for number, (_, size) in wanted):
                raise PartsMissing
            tags = [parts[number][1] for number, _ in wanted]
            if target.store.transfers.complete(row.key, row.multipart, tags):
                return
        # It was completed by another service, or by one that died before it was proved; or it was
        # given up.
        if target.store.size(row.key) != row.size:
            self._drop(target, row)
            raise PartsMissing

    @contextmanager
    def _alone(self, space: str, key: str) -> Iterator[None]:
        with self._lock:
            if (space, key) in self._finishing:
                raise ObjectBusy
            self._finishing.add((space, key))
        try:
            yield
        finally:
            with self._lock:
                self._finishing.discard((space, key))


def _copy(row: TransferRow, upload: str) -> TransferRow:
    return TransferRow(
        team_id=row.team_id, key=row.key, upload_id=upload, kind=row.kind,
        multipart=row.multipart, sha256=row.sha256, size=row.size, part_size=row.part_size,
        created_at=row.created_at,
    )  # fmt: skip


def _is_of(row: TransferRow, asked: Transfer) -> bool:
    """Whether it is said of both that they have the same bytes."""
    return (row.size, row.sha256) == (asked.size, asked.sha256)


def _cut(size: int, part: int) -> list[tuple[int, int]]:
    """Return offset and size of each part; an empty object has one empty part."""
    return [(at, min(part, size - at)) for at in range(0, max(size, 1), part)]


def prove(target: Target, keep_table: Callable[[str, PackIndex], object]) -> Received:
    """Read an object once, in pieces, and see that it is what was said.

    Parameters
    ----------
    keep_table : callable
        Told name and table of a pack that was right: its commit looks into it.

    Raises
    ------
    BadObject
        When it is not.
    FileNotFoundError
        When it is gone.
    """
    asked, size = target.asked, target.store.size(target.key)
    if size is None:
        raise FileNotFoundError(target.key)
    if size != asked.size or (asked.kind == "pack" and size > LARGEST_PACK):
        raise BadObject("The object does not have the size that was said.", hint="Send it again.")
    if asked.kind == "pack":
        data = target.store.read(target.key)
        count = provers().prove_data(asked.name, data)
        keep_table(asked.name, PackIndex(count, data[HEAD : HEAD + ROW * count]))
        return Received(size, count)
    pieces = target.store.chunks(target.key, 0, size)
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    for data in pieces:
        md5.update(data)
        sha256.update(data)
    if (md5.hexdigest(), sha256.hexdigest()) != (asked.name, asked.sha256):
        raise BadObject(
            f"The object {asked.name} does not have the bytes that its digests promise: it was "
            "damaged on the way or changed while it was read.",
            hint="Send it again.",
        )
    return Received(size, 1)
