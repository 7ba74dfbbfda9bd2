"""Operations by which clients exchange bytes with the object store itself.

The service signs, and proves what came; the bytes do not pass through it.
"""

from __future__ import annotations

import asyncio
from typing import Final

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.errors import Conflict, Fault, Invalid, Malformed
from nablahub.core.operations import StreamCall, stream
from nablahub.core.permissions import teams_of
from nablahub.core.s3 import S3Store
from nablahub.datasets.batches import parse_request
from nablahub.datasets.contents import Contents
from nablahub.datasets.layout import object_key, pack_key
from nablahub.datasets.packs import SMALL
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import DatasetRow, LinkRow, VersionRow, objects_of
from nablahub.datasets.threads import blocking
from nablahub.datasets.transfer_types import (
    Location,
    LocationsAnswer,
    Source,
    Transfer,
    TransferPlan,
    TransferState,
)
from nablahub.datasets.transfers import Target
from nablahub.datasets.upload_handlers import find_upload
from nablahub.datasets.verifying import Verifier

#: A large object takes longer to be read; whoever waits asks again.
PATIENCE_SECONDS: Final = 20.0


async def _target(call: StreamCall) -> Target:
    service = call.get(DatasetService)
    asked = _parse(await call.read())
    dataset, upload = await find_upload(call)
    store = await blocking(service.store, dataset.space)
    if not isinstance(store, S3Store) or not store.config.direct:
        raise Conflict(
            "The bytes of this dataset pass through the hub.",
            hint="Send packs and objects to the upload itself.",
        )
    if asked.kind == "object" and asked.size <= SMALL:
        raise Invalid(
            f"An object of {asked.size} bytes is a small one.",
            hint="Send it in a pack.",
            errors=[Fault(f"must be more than {SMALL}", "/size")],
        )
    return Target(dataset, upload, store, asked, inside=call.who.kind == "run")


def _parse(body: bytes) -> Transfer:
    try:
        return Transfer.model_validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise Malformed("The body is not JSON.") from error
        pointer = "".join(f"/{part}" for part in first["loc"])
        raise Invalid(
            "The body does not describe an object.", errors=[Fault(first["msg"], pointer)]
        ) from error


@stream(
    "POST",
    "/datasets/{dataset}/uploads/{upload}/transfers",
    scope="datasets:write",
    consumes="application/json",
)
async def plan_transfer(call: StreamCall) -> TransferPlan:
    """Get signed URLs for the parts of an object that have not arrived.

    The body is `{"kind": "pack"|"object", "name", "sha256", "size"}`. Asked again after a
    break, it tells what is still missing.
    """
    target = await _target(call)
    return await blocking(call.get(DatasetService).building.transfers.plan, target)


@stream(
    "POST",
    "/datasets/{dataset}/uploads/{upload}/transfers/finish",
    scope="datasets:write",
    consumes="application/json",
)
async def finish_transfer(call: StreamCall) -> TransferState:
    """Say that all parts were sent; the object is proved by reading it once, and counts then.

    The body is that of the plan. While the answer is `{"complete": false}`, ask again.
    """
    target = await _target(call)
    transfers, loop = call.get(DatasetService).building.transfers, asyncio.get_running_loop()
    until = loop.time() + PATIENCE_SECONDS
    while True:
        task, mine = transfers.finishing(target)
        done, _ = await asyncio.wait({task}, timeout=max(until - loop.time(), 0))
        if not done:
            return TransferState(complete=False)
        if mine:
            task.result()
            return TransferState(complete=True)
        # Another upload's end says nothing of this one, but it is short work now.


@stream(
    "POST",
    "/datasets/{dataset}/versions/{version}/verify",
    scope="datasets:write",
    produces="application/x-ndjson",
)
async def verify_version(call: StreamCall) -> None:
    """Read all stored bytes of a version and name the files that are damaged.

    A line of JSON (a `Verification`) comes after each few hundred files or 64 MiB. What is damaged
    is restored from a good copy where the hub has one; else it may be uploaded again, and the other
    versions of yours that need the same bytes are named.
    """
    service, who, path = call.get(DatasetService), call.who, call.path

    def look(session: Session) -> tuple[DatasetRow, VersionRow]:
        row = service.row(session, who, path["dataset"])
        return row, service.version(session, row, path["version"])

    dataset, version = await call.db_read(look)
    verifier = await blocking(Verifier, service, who, dataset, version)
    lines = verifier.run()
    while (line := await blocking(next, lines, None)) is not None:
        await call.write(line.model_dump_json().encode() + b"\n")


@stream(
    "POST",
    "/datasets/{dataset}/versions/{version}/locations",
    scope="datasets:read",
    consumes="application/json",
)
async def find_locations(call: StreamCall) -> LocationsAnswer:
    """Get signed URLs and ranges of objects; the body is `{"md5": [...]}`.

    What the dataset does not have is left out.
    """
    service, who, path = call.get(DatasetService), call.who, call.path
    asked = parse_request(await call.read())

    def look(session: Session) -> tuple[DatasetRow, Contents]:
        row = service.readable(session, who, path["dataset"])
        service.version(session, row, path["version"])
        return row, service.contents(session, row)

    dataset, contents = await call.db_read(look)
    outside = dataset.team_id not in teams_of(who)  # A signed URL opens a pack as a whole.
    if outside or not isinstance(contents.store, S3Store) or not contents.store.config.direct:
        return LocationsAnswer(direct=False, sources=[], objects=[])
    sizes = await call.db_read(lambda s: _large(s, dataset, asked.md5))
    inside = who.kind == "run"
    return await blocking(_locations, contents.store, contents, asked.md5, sizes, inside)


def _large(session: Session, dataset: DatasetRow, md5s: list[str]) -> dict[str, int]:
    """Return the sizes of those that are large objects which the dataset refers to."""
    query = select(LinkRow.md5).where(LinkRow.dataset_id == dataset.id)
    linked = set(session.scalars(query))
    found = objects_of(session, dataset.space, [md5 for md5 in md5s if md5 in linked])
    return {md5: row.size for md5, row in found.items()}


def _locations(
    store: S3Store, contents: Contents, md5s: list[str], large: dict[str, int], inside: bool
) -> LocationsAnswer:
    packed = contents.packed()
    sources: list[Source] = []
    numbers: dict[str, int] = {}
    found: list[Location] = []

    def source(key: str, size: int) -> int:
        if key not in numbers:
            numbers[key] = len(sources)
            sources.append(Source(url=store.transfers.sign_get(key, inside=inside), size=size))
        return numbers[key]

    for md5 in md5s:
        if (known := packed.get(bytes.fromhex(md5))) is not None:
            row, last = known.table.at(known.number), known.table.at(known.table.count - 1)
            number = source(pack_key(contents.dataset, known.pack), last.start + last.size)
            found.append(Location(md5=md5, source=number, start=row.start, size=row.size))
        elif (size := large.get(md5)) is not None:
            number = source(object_key(md5), size)
            found.append(Location(md5=md5, source=number, start=0, size=size))
    return LocationsAnswer(direct=True, sources=sources, objects=found)
