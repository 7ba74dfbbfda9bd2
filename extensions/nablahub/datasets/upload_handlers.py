"""Operations that build a version; :mod:`nablahub.datasets.handlers` hands them on."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from sqlalchemy.orm import Session

from nablahub.core.errors import StorageFull, TooLarge
from nablahub.core.objects import CHUNK, check_room, full_storage
from nablahub.core.operations import Call, StreamCall, at_leader, operation, stream
from nablahub.core.quantities import human
from nablahub.datasets import uploads
from nablahub.datasets.arriving import Arrival, folder_of
from nablahub.datasets.bodies import parse_json
from nablahub.datasets.errors import BadObject
from nablahub.datasets.intake import PackReceiver, Parts, PieceWriter
from nablahub.datasets.lacking import missing
from nablahub.datasets.layout import pack_key
from nablahub.datasets.packs import SMALL
from nablahub.datasets.pushing import Pushed, keep_large
from nablahub.datasets.service import DatasetService
from nablahub.datasets.shapes import version_wire
from nablahub.datasets.store import (
    DatasetRow,
    ObjectRow,
    UploadRow,
    VersionRow,
    damaged,
    objects_of,
    pack_names,
)
from nablahub.datasets.threads import blocking, entered
from nablahub.datasets.transfer_types import (
    Missing,
    MissingAnswer,
    ObjectName,
    PartAnswer,
    PartQuery,
)
from nablahub.datasets.types import CommitQuery, DatasetVersion, Md5, Upload, UploadCreate

#: A manifest of a million files has 150 MB.
LARGEST_MANIFEST: Final = 4 * 1024**3


def _wire(session: Session, service: DatasetService, dataset: DatasetRow, row: UploadRow) -> Upload:
    made = Upload.model_validate(row, from_attributes=True)
    packs = len(pack_names(session, dataset.id))
    return made.model_copy(update={"packs": packs, "direct": service.is_direct(dataset)})


@operation("POST", "/datasets/{dataset}/uploads", scope="datasets:write", status=201)
def begin_upload(call: Call, body: UploadCreate) -> Upload:
    """Begin a new version of a dataset."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    inputs = tuple(service.resolve(call.session, call.who, ref).id for ref in body.inputs)
    origin = uploads.Origin(call.who.name, body.source, body.message, inputs=inputs)
    return _wire(call.session, service, row, uploads.begin(call.session, row, origin))


@operation("GET", "/datasets/{dataset}/uploads/{upload}", scope="datasets:read")
def get_upload(call: Call) -> Upload:
    """Get an upload that is not committed yet."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    upload = uploads.find(call.session, row, call.path["upload"])
    return _wire(call.session, service, row, upload)


@operation("DELETE", "/datasets/{dataset}/uploads/{upload}", scope="datasets:write")
def cancel_upload(call: Call) -> None:
    """Give an upload up; what came with it is deleted."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    upload = uploads.find(call.session, row, call.path["upload"])
    uploads.end(call.session, row.space, upload)
    service.collect_later(call.session, row.space)


async def find_upload(call: StreamCall) -> tuple[DatasetRow, UploadRow]:
    """Return the dataset and the open upload of a request."""
    service, who, path = call.get(DatasetService), call.who, call.path
    return await call.db_read(
        lambda s: (
            row := service.row(s, who, path["dataset"]),
            uploads.find(s, row, path["upload"]),
        )
    )


@stream(
    "POST",
    "/datasets/{dataset}/uploads/{upload}/missing",
    scope="datasets:write",
    consumes="application/json",
)
async def list_missing(call: StreamCall) -> MissingAnswer:
    """Tell which of these objects must be sent, and whether they would find room.

    The body is `{"objects": [{"md5", "sha256", "size"}, …]}`, at most 20,000 of them.
    """
    service = call.get(DatasetService)
    asked = parse_json(Missing, await call.read(), "The body does not list objects.")
    dataset, _ = await find_upload(call)
    contents = await call.db_read(lambda s: service.contents(s, dataset))
    space, read = dataset.space, service.building.read

    def find(md5s: Sequence[str]) -> dict[str, ObjectRow]:
        return read(lambda s: objects_of(s, space, md5s))

    lacking = await blocking(missing, find, contents, asked.objects)
    broken = await call.db_read(lambda s: damaged(s, dataset.space, dataset.id))
    if broken:  # They are there, but not as they were: who has them sends them again.
        wanted = broken.union(lacking)
        lacking = [md5 for md5 in dict.fromkeys(o.md5 for o in asked.objects) if md5 in wanted]
    sizes = {o.md5: o.size for o in asked.objects}
    total = sum(sizes[md5] for md5 in lacking)
    await blocking(service.building.check_space, dataset.space, total)
    return MissingAnswer(missing=lacking)


@stream(
    "PUT",
    "/datasets/{dataset}/uploads/{upload}/packs/{pack}",
    scope="datasets:write",
    status=204,
    consumes="application/octet-stream",
)
async def put_pack(call: StreamCall) -> None:
    """Send a pack of small objects, named by the sha256 of its bytes before the objects."""
    service = call.get(DatasetService)
    pack = call.path["pack"]
    if len(pack) != 64 or not set(pack) <= set("0123456789abcdef"):
        raise BadObject("A pack is named by its sha256.", hint="Send 64 hexadecimal digits.")
    dataset, upload = await find_upload(call)
    async with entered(_arrival(call, dataset)) as arrival:
        store = service.store(dataset.space)
        key = pack_key(dataset.id, pack)
        await blocking(service.building.claim, store, dataset.space, upload, "pack", key)
        made = await blocking(PackReceiver, store, dataset.id, pack)
        async with entered(made) as receiver:
            await _take_in(call, arrival, receiver.feed)
            got = await blocking(receiver.finish)
    await blocking(service.building.register_pack, dataset.space, upload, pack, got)


def _arrival(call: StreamCall, dataset: DatasetRow) -> Arrival:
    announced = int(call.request_headers.get("Content-Length", "0"))
    return Arrival(call.get(DatasetService), dataset.space, announced)


async def _take_in(call: StreamCall, arrival: Arrival, write: Callable[[bytes], object]) -> None:
    """Write the body as it comes, as long as there is room for it."""

    def take(data: bytes) -> None:
        arrival.take(len(data))
        write(data)

    async for data in large_chunks(call):
        await blocking(take, data)


async def take_object(
    call: StreamCall, dataset: DatasetRow, upload: UploadRow, md5: str | None
) -> Pushed:
    """Take the body in as an object of a dataset; a small one waits for its pack."""
    service = call.get(DatasetService)
    folder = folder_of(service.parts(dataset.space).root, upload)
    arrival = _arrival(call, dataset)
    async with entered(Pushed(folder, md5)) as pushed:
        async with entered(arrival):
            await _take_in(call, arrival, pushed.write)
            await blocking(pushed.finish)
            if pushed.size <= SMALL:
                arrival.lay()
        # Counted as stored from here on, so no more as arriving.
        await blocking(keep_large, service, dataset, upload, pushed)
    return pushed


@stream("HEAD", "/datasets/{dataset}/uploads/{upload}/objects/{md5}", scope="datasets:write")
async def look_at_object(call: StreamCall) -> None:
    """Find out how many bytes of a large object have arrived (`X-Arrived`)."""
    service = call.get(DatasetService)
    dataset, _ = await find_upload(call)
    parts = service.parts(dataset.space)
    file = parts.path(dataset.id, _md5(call))
    call.set_header("X-Arrived", str(await blocking(parts.arrived, file)))


@stream(
    "PUT",
    "/datasets/{dataset}/uploads/{upload}/objects/{md5}",
    scope="datasets:write",
    query=PartQuery,
    consumes="application/octet-stream",
)
async def put_object(call: StreamCall) -> PartAnswer:
    """Send a large object, or the next piece of one; pieces survive a restart of the hub."""
    service = call.get(DatasetService)
    asked: PartQuery = call.query
    md5 = _md5(call)
    dataset, upload = await find_upload(call)
    space = dataset.space
    await blocking(service.building.check_space, space, asked.size - asked.offset)
    file = service.parts(space).path(dataset.id, md5)
    with service.parts(space).claim(file):
        arrived = await _append_piece(call, service.parts(space), file)
        if arrived < asked.size:
            return PartAnswer(arrived=arrived, complete=False)
        await blocking(service.parts(space).prove, file, md5, asked.sha256)
        name = ObjectName(md5=md5, sha256=asked.sha256, size=asked.size)
        await blocking(service.building.keep, dataset, upload, file, name)
    return PartAnswer(arrived=arrived, complete=True)


async def _append_piece(call: StreamCall, parts: Parts, file: Path) -> int:
    asked: PartQuery = call.query
    try:
        async with entered(parts.piece(file, asked.offset)) as writer:
            _check_end(writer, 0, asked.size)
            async for data in large_chunks(call):
                _check_end(writer, len(data), asked.size)
                await blocking(writer.write, data)
            return writer.arrived
    except StorageFull:  # What is there of it would keep the disk full.
        await blocking(parts.discard, file)
        raise


def _check_end(writer: PieceWriter, more: int, size: int) -> None:
    if writer.arrived + more > size:
        raise BadObject(
            f"More bytes came than the {human(size)} that were announced.", hint="Send it again."
        )


def _md5(call: StreamCall) -> Md5:
    md5 = call.path["md5"]
    if len(md5) != 32 or not set(md5) <= set("0123456789abcdef"):
        raise BadObject("An object is named by its md5.", hint="Send 32 hexadecimal digits.")
    return md5


@at_leader  # Two at a time, of two processes, would write two manifests in one place.
@stream(
    "POST",
    "/datasets/{dataset}/uploads/{upload}/commit",
    scope="datasets:write",
    status=201,
    query=CommitQuery,
    consumes="text/plain",
)
async def commit_upload(call: StreamCall) -> DatasetVersion:
    """Commit an upload: the body is the manifest of all files of the new version.

    A line for each file, sorted by the bytes of the paths: `<md5> <sha256> f|x <size> <path>`.
    With `base` it is only what differs from that version. Sent again after it worked, it answers
    with the same version.
    """
    service, who = call.get(DatasetService), call.who

    def look(session: Session) -> tuple[DatasetRow, UploadRow | VersionRow]:
        dataset = service.row(session, who, call.path["dataset"])
        return dataset, uploads.find_or_made(session, dataset, call.path["upload"])

    dataset, found = await call.db_read(look)
    if isinstance(found, VersionRow):
        return version_wire(dataset, found)
    asked: CommitQuery = call.query
    base: VersionRow | None = None
    if (known := asked.base) is not None:
        base = await call.db_read(lambda s: service.version(s, dataset, known))
    with tempfile.TemporaryFile(dir=_spool(service)) as spool:
        async for data in large_chunks(call, LARGEST_MANIFEST):
            await blocking(_append, service, spool, data)
        spool.seek(0)
        row = await blocking(service.building.committing.commit, dataset, found, _read(spool), base)
    return version_wire(dataset, row)


def _spool(service: DatasetService) -> str:
    folder = service.settings.state.objects
    with full_storage(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def _append(service: DatasetService, spool: BinaryIO, data: bytes) -> None:
    check_room(service.settings.state.objects, len(data), service.settings.min_free_bytes)
    with full_storage():
        spool.write(data)


def _read(spool: BinaryIO) -> Iterator[bytes]:
    while data := spool.read(CHUNK):
        yield data


async def large_chunks(call: StreamCall, limit: int | None = None) -> AsyncIterator[bytes]:
    """Yield the body in pieces of about a mebibyte: fewer hops into threads.

    Raises
    ------
    TooLarge
        When it has more than ``limit`` bytes.
    """
    gathered: list[bytes] = []
    size = total = 0
    async for chunk in call.chunks():
        gathered.append(chunk)
        size += len(chunk)
        total += len(chunk)
        if limit is not None and total > limit:
            raise TooLarge(f"The body has more than {human(limit)}.", hint="Send less at once.")
        if size >= CHUNK:
            yield b"".join(gathered)
            gathered, size = [], 0
    if gathered:
        yield b"".join(gathered)
