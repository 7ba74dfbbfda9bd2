"""Operations on lineage, on deleting versions, and on collecting what they leave."""

from __future__ import annotations

from nablahub.core.operations import Call, operation
from nablahub.datasets import lineage, trash
from nablahub.datasets.service import DatasetService
from nablahub.datasets.shapes import version_wire
from nablahub.datasets.store import VersionRow
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


@operation("GET", "/datasets/{dataset}/garbage", scope="datasets:read")
def look_at_garbage(call: Call) -> Collection:
    """List the files that only deleted versions hold; nothing is changed."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    gone = list(trash.deleted(call.session, row.id))
    return _shown(trash.find_waste(call.session, service, row, gone), gone)


@operation("POST", "/datasets/{dataset}/garbage", scope="datasets:write")
def collect_garbage(call: Call, body: CollectionDo) -> Collection:
    """Set the day on which the bytes of deleted versions go; with `undo`, keep them after all."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    gone = list(trash.deleted(call.session, row.id))
    if body.undo:
        kept = trash.pardon(call.session, row)
        return Collection(versions=kept, files=[], count=0, bytes=0, packs=0, until=None)
    trash.condemn(call.session, row, gone)
    service.purge_later(call.session, row)
    return _shown(trash.find_waste(call.session, service, row, gone), gone)
