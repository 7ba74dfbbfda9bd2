"""Operations on lineage, on deleting versions, and on collecting what they leave."""

from __future__ import annotations

from sqlalchemy.orm import Session

from nablahub.core.operations import Call, StreamCall, operation, stream
from nablahub.datasets import lineage, trash
from nablahub.datasets.bodies import parse_json
from nablahub.datasets.service import DatasetService
from nablahub.datasets.shapes import version_wire
from nablahub.datasets.store import VersionRow
from nablahub.datasets.threads import blocking
from nablahub.datasets.types import (
    Collection,
    CollectionDo,
    DatasetVersion,
    Lineage,
    WastedFile,
)

SHOWN = 10_000


@operation("GET", "/datasets/{dataset}/versions/{version}/lineage", scope="datasets:read")
def get_lineage(call: Call) -> Lineage:
    """Get where a version came from, and what came of it."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    version = service.version(call.session, row, call.path["version"])
    return lineage.of_version(call.session, service, version)


@operation("DELETE", "/datasets/{dataset}/versions/{version}", scope="datasets:write")
def delete_version(call: Call) -> None:
    """Delete a version, unless something depends on it; its bytes stay until they are collected."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    trash.bin_version(
        call.session, service, service.version(call.session, row, call.path["version"])
    )


@operation("POST", "/datasets/{dataset}/versions/{version}/restore", scope="datasets:write")
def restore_version(call: Call) -> DatasetVersion:
    """Take a deleted version back, as long as its bytes have not been collected."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    found = trash.restore(call.session, service, row, call.path["version"])
    return version_wire(row, found)


def _shown(waste: trash.Waste, gone: list[VersionRow]) -> Collection:
    marked = [row.purge_at for row in gone if row.purge_at is not None]
    return Collection(
        versions=waste.versions,
        files=[WastedFile(version=v, path=p, size=n) for v, p, n in waste.files[:SHOWN]],
        count=len(waste.files), bytes=sum(size for _, _, size in waste.files),
        packs=len(waste.packs), until=min(marked, default=None),
    )  # fmt: skip


async def _stock(call: StreamCall) -> trash.Stock:
    service, who, name = call.get(DatasetService), call.who, call.path["dataset"]
    return await call.db_read(lambda s: trash.look(s, service.row(s, who, name)))


@stream("GET", "/datasets/{dataset}/garbage", scope="datasets:read")
async def look_at_garbage(call: StreamCall) -> Collection:
    """List the files that only deleted versions hold; nothing is changed."""
    stock = await _stock(call)
    waste = await blocking(trash.find_waste, call.get(DatasetService), stock, stock.deleted)
    return _shown(waste, stock.deleted)


@stream("POST", "/datasets/{dataset}/garbage", scope="datasets:write", consumes="application/json")
async def collect_garbage(call: StreamCall) -> Collection:
    """Set the day on which the bytes of deleted versions go; with `undo`, keep them after all.

    The body is a `CollectionDo`. Sent again it changes nothing more.
    """
    service = call.get(DatasetService)
    body = parse_json(CollectionDo, await call.read(), "The body does not say what to do.")
    stock = await _stock(call)
    if body.undo:
        kept = await call.db_write(lambda s: trash.pardon(s, stock.dataset))
        return Collection(versions=kept, files=[], count=0, bytes=0, packs=0, until=None)
    waste = await blocking(trash.find_waste, service, stock, stock.deleted)

    def condemn(session: Session) -> list[VersionRow]:
        current = trash.look(session, stock.dataset)
        gone = [row for row in current.deleted if row.id in set(waste.versions)]
        trash.condemn(session, stock.dataset, gone)
        service.purge_later(session, stock.dataset)
        return gone

    return _shown(waste, await call.db_write(condemn))
