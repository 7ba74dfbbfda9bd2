"""The hub as a DVC remote: DVC's layout over HTTP, for one dataset.

DVC asks for ``files/md5/ab/cdef…`` and ``….dir`` below the remote's URL. There is no such file for
a small object or a ``.dir``: the first is a slice of a pack, the second is written from the
manifest while it is sent. Only what the dataset refers to is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.content import take_range
from nablahub.core.errors import NotFound
from nablahub.core.operations import StreamCall, stream
from nablahub.core.permissions import Principal
from nablahub.datasets import pushing
from nablahub.datasets.contents import Contents
from nablahub.datasets.dvc import dir_chunks, parse_object
from nablahub.datasets.handlers import send
from nablahub.datasets.manifests import ManifestReader
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import LinkRow, VersionRow, pack_names, versions_of
from nablahub.datasets.threads import blocking
from nablahub.datasets.upload_handlers import large_chunks, take_object
from nablahub.datasets.uploads import NOT_YET

#: A ``.dir`` of a million files has 100 MB.
LARGEST_DIR: Final = 256 * 1024**2


@dataclass(frozen=True)
class Target:
    """What was asked for: an object, or the tree of a version."""

    contents: Contents
    md5: str
    large: bool
    manifest: ManifestReader | None = None
    size: int = 0


def unknown() -> NotFound:
    """Return the error for what the dataset does not refer to, whether others do or not."""
    return NotFound(
        "This dataset has no such object.", hint="Use the remote that `export-dvc` wrote."
    )


def find(
    service: DatasetService, session: Session, who: Principal, dataset: str, path: str
) -> Callable[[], Target]:
    """Find what a path of the remote means; the rest reads the store, in no transaction."""
    row = service.row(session, who, dataset)
    parsed = parse_object(path)
    if parsed is None:
        raise unknown()
    md5, is_dir = parsed
    names = pack_names(session, row.id, committed=True)
    contents = Contents(service.store(row.space), row.id, names, service.tables)
    if not is_dir:
        link = session.get(LinkRow, (row.id, md5))
        large = link is not None and link.upload_id is None
        return lambda: Target(contents, md5, large)
    query = select(VersionRow).where(VersionRow.dataset_id == row.id, VersionRow.dvc_md5 == md5)
    version = session.scalars(query.limit(1)).first()
    if version is not None:
        found = service.manifest(row, version)
        return lambda: Target(contents, md5, False, found, version.dvc_size)
    others = list(session.scalars(versions_of(row.id).where(VersionRow.dvc_md5 == NOT_YET)))

    def derive() -> Target:
        for other in others:
            if (tree := service.dvc_tree(row, other)).md5 == md5:
                return Target(contents, md5, False, service.manifest(row, other), tree.size)
        raise unknown()

    return derive


async def _answer(call: StreamCall) -> None:
    service, who, path = call.get(DatasetService), call.who, call.path
    found = await call.db_read(lambda s: find(service, s, who, path["dataset"], path["object"]))
    target = await blocking(found)
    call.set_header("Content-Type", "application/octet-stream")
    call.set_header("ETag", f'"{target.md5}"')
    if target.manifest is not None:
        call.set_header("Content-Length", str(target.size))
        if call.method != "HEAD":
            await send(call, dir_chunks(target.manifest.entries()))
        return
    place = await blocking(target.contents.locate, target.md5)
    if place is None or (not place.key.startswith("packs/") and not target.large):
        raise unknown()
    start, length = take_range(call, place.size)
    pieces = service.proofs.proved(target.contents, place, target.md5, target.md5, start, length)
    first = await blocking(next, pieces, b"") if call.method != "HEAD" else b""
    if call.method != "HEAD":
        await call.write(first)
        await send(call, pieces)


@stream(
    "GET",
    "/dvc/{dataset}/files/md5/{object+}",
    scope="datasets:read",
    produces="application/octet-stream",
    root=True,
)
async def get_dvc_object(call: StreamCall) -> None:
    """Get an object of a dataset, as a DVC remote has it."""
    await _answer(call)


@stream("HEAD", "/dvc/{dataset}/files/md5/{object+}", scope="datasets:read", root=True)
async def look_at_dvc_object(call: StreamCall) -> None:
    """Find out whether a dataset has an object, as a DVC remote."""
    await _answer(call)


@stream(
    "PUT",
    "/dvc/{dataset}/files/md5/{object+}",
    scope="datasets:write",
    consumes="application/octet-stream",
    root=True,
)
async def put_dvc_object(call: StreamCall) -> None:
    """Push an object, as `dvc push` does; the `.dir`, which comes last, makes a version."""
    service, who = call.get(DatasetService), call.who
    parsed = parse_object(call.path["object"])
    if parsed is None:
        raise unknown()
    md5, is_dir = parsed
    dataset = await call.db_read(lambda s: service.row(s, who, call.path["dataset"]))
    size = int(call.request_headers.get("Content-Length", "0"))
    await blocking(service.building.check_space, dataset.space, size)
    upload = await call.db_write(lambda s: pushing.upload_of(s, dataset, who.name))
    if is_dir:
        data = b"".join([part async for part in large_chunks(call, LARGEST_DIR)])
        rows = await blocking(pushing.parse_tree, data, md5)
        await blocking(pushing.commit_tree, service, dataset, upload, rows)
        return
    await take_object(call, dataset, upload, md5)
