"""Operations on datasets, their versions and the files in them; uploads are in another module."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, Literal, cast

from sqlalchemy.orm import Session

from nablahub.core.content import set_content_headers, take_range
from nablahub.core.errors import NotFound
from nablahub.core.media import media_type
from nablahub.core.operations import Call, StreamCall, operation, stream
from nablahub.core.paging import Page, PageQuery
from nablahub.core.permissions import Principal, teams_of
from nablahub.datasets import proofs
from nablahub.datasets.batches import batch_of, parse_request
from nablahub.datasets.contents import Contents
from nablahub.datasets.errors import NoSuchFile
from nablahub.datasets.export import export_of
from nablahub.datasets.manifest import KIND_EXECUTABLE, Entry
from nablahub.datasets.manifests import ManifestReader
from nablahub.datasets.paths import show
from nablahub.datasets.service import DatasetService
from nablahub.datasets.shapes import version_wire
from nablahub.datasets.store import DatasetRow, VersionRow, damaged
from nablahub.datasets.threads import blocking
from nablahub.datasets.types import (
    ContentQuery,
    Dataset,
    DatasetCreate,
    DatasetPatch,
    DatasetQuery,
    DatasetVersion,
    DvcExport,
    File,
    FileQuery,
    Node,
    TreeQuery,
)

#: Entries that one request for files of a name goes through.
LOOKED_THROUGH: Final = 50_000


@operation("GET", "/datasets", scope="datasets:read", query=DatasetQuery)
def list_datasets(call: Call) -> Page[Dataset]:
    """List the datasets of your teams."""
    items, following = call.get(DatasetService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)


@operation("POST", "/datasets", scope="datasets:write", status=201)
def create_dataset(call: Call, body: DatasetCreate) -> Dataset:
    """Create an empty dataset."""
    return call.get(DatasetService).create(call.session, call.who, body)


@operation("GET", "/datasets/{dataset}", scope="datasets:read")
def get_dataset(call: Call) -> Dataset:
    """Get a dataset by its id or name."""
    service = call.get(DatasetService)
    row = service.readable(call.session, call.who, call.path["dataset"])
    return service.as_wire(call.session, row)


@operation("PATCH", "/datasets/{dataset}", scope="datasets:write")
def change_dataset(call: Call, body: DatasetPatch) -> Dataset:
    """Change a dataset's name or description."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    call.check_etag(row.revision)
    return service.change(call.session, row, body)


@operation("DELETE", "/datasets/{dataset}", scope="datasets:write")
def delete_dataset(call: Call) -> None:
    """Delete a dataset with all its versions, unless something depends on it."""
    service = call.get(DatasetService)
    service.delete(call.session, service.row(call.session, call.who, call.path["dataset"]))


@operation("GET", "/datasets/{dataset}/versions", scope="datasets:read", query=PageQuery)
def list_versions(call: Call) -> Page[DatasetVersion]:
    """List the versions of a dataset, newest first."""
    service = call.get(DatasetService)
    row = service.readable(call.session, call.who, call.path["dataset"])
    items, following = service.versions(call.session, row, call.query)
    return Page(items=list(items), next=following)


@dataclass(frozen=True)
class Opened:
    """A version that is being read."""

    dataset: DatasetRow
    version: VersionRow
    contents: Contents
    manifest: ManifestReader


def open_version(
    service: DatasetService, session: Session, who: Principal, dataset: str, version: str
) -> Opened:
    """Find a version and open its manifest."""
    row = service.readable(session, who, dataset)
    found = service.version(session, row, version)
    return Opened(row, found, service.contents(session, row), service.manifest(row, found))


@operation("GET", "/datasets/{dataset}/versions/{version}", scope="datasets:read")
def get_version(call: Call) -> DatasetVersion:
    """Get a version by its 7 characters, or `latest`."""
    service = call.get(DatasetService)
    row = service.readable(call.session, call.who, call.path["dataset"])
    found = version_wire(row, service.version(call.session, row, call.path["version"]))
    broken = bool(damaged(call.session, row.space, row.id))
    return found.model_copy(update={"damaged": broken})


@stream(
    "GET", "/datasets/{dataset}/versions/{version}/files", scope="datasets:read", query=FileQuery
)
async def list_files(call: StreamCall) -> Page[File]:
    """List the files of a version, by path."""
    opened, asked = await _open(call), cast("FileQuery", call.query)
    found = opened.manifest.after(asked.cursor or "", prefix=asked.prefix)
    if asked.contains:
        return await blocking(_searched, found, asked)
    rows = await blocking(lambda: list(islice(found, asked.limit + 1)))
    following = rows[asked.limit - 1].path if len(rows) > asked.limit else None
    return Page(items=[file_wire(entry) for entry in rows[: asked.limit]], next=following)


def _searched(entries: Iterator[Entry], asked: FileQuery) -> Page[File]:
    """Look through so many entries as one request may cost, whatever is found among them."""
    wanted = asked.contains.casefold()
    items: list[File] = []
    for number, entry in enumerate(entries, 1):
        if wanted in entry.path.casefold():
            items.append(file_wire(entry))
        if number >= LOOKED_THROUGH or len(items) >= asked.limit:
            return Page(items=items, next=entry.path)
    return Page(items=items, next=None)


@stream(
    "GET", "/datasets/{dataset}/versions/{version}/tree", scope="datasets:read", query=TreeQuery
)
async def list_tree(call: StreamCall) -> Page[Node]:
    """List one folder of a version: its files, and the folders in it."""
    opened, asked = await _open(call), cast("TreeQuery", call.query)
    folder = f"{asked.folder.strip('/')}/" if asked.folder.strip("/") else ""
    found = opened.manifest.folder(folder, asked.cursor or "")
    rows = await blocking(lambda: list(islice(found, asked.limit + 1)))
    nodes = [
        Node(path=row, kind="folder") if isinstance(row, str)
        else Node(
            path=row.path, size=row.size, md5=row.md5, sha256=row.sha256, kind=_kind(row),
            type=media_type(row.path),
        )
        for row in rows
    ]  # fmt: skip
    following = nodes[asked.limit - 1].path if len(nodes) > asked.limit else None
    return Page(items=nodes[: asked.limit], next=following)


def file_wire(entry: Entry) -> File:
    """Return an entry as clients see it."""
    return File(
        path=entry.path, size=entry.size, md5=entry.md5, sha256=entry.sha256, kind=_kind(entry),
        type=media_type(entry.path),
    )  # fmt: skip


def _kind(entry: Entry) -> Literal["file", "executable"]:
    return "executable" if entry.kind == KIND_EXECUTABLE else "file"


@stream("GET", "/datasets/{dataset}/versions/{version}/dvc", scope="datasets:read")
async def get_dvc_files(call: StreamCall) -> DvcExport:
    """Get the `.dvc` file and the remote's configuration that stand for a version."""
    service, opened = call.get(DatasetService), await _open(call)
    row, version = opened.dataset, opened.version
    tree = await blocking(service.dvc_tree, row, version)
    return export_of(service.settings.api_url, row, tree, version.files, version.size)


async def _open(call: StreamCall) -> Opened:
    service = call.get(DatasetService)
    who, dataset, version = call.who, call.path["dataset"], call.path["version"]
    return await call.db_read(lambda s: open_version(service, s, who, dataset, version))


@stream(
    "GET",
    "/datasets/{dataset}/versions/{version}/manifest",
    scope="datasets:read",
    produces="text/plain",
)
async def get_manifest(call: StreamCall) -> None:
    """Get a version's manifest: `<md5> <sha256> f|x <size> <path>`, a line for each file."""
    opened = await _open(call)
    call.set_header("X-Nablahub-Version", opened.version.id)
    await send(call, opened.manifest.chunks())


@stream(
    "GET",
    "/datasets/{dataset}/versions/{version}/tables",
    scope="datasets:read",
    produces="application/octet-stream",
)
async def get_tables(call: StreamCall) -> None:
    """Get name (64 characters) and table of each pack that holds small files of the dataset.

    For readers of a public dataset outside its team, the digests of all that the version does not
    refer to are zeros.
    """
    opened = await _open(call)
    if call.get(DatasetService).is_direct(opened.dataset) and _is_inside(call, opened.dataset):
        call.set_header("X-Nablahub-Direct", "1")
    contents = await _contents(call, opened)
    await send(call, contents.heads())


def _is_inside(call: StreamCall, dataset: DatasetRow) -> bool:
    return dataset.team_id in teams_of(call.who)


async def _contents(call: StreamCall, opened: Opened) -> Contents:
    """Return what the caller may have of the packs: outside the team, what the version has."""
    if _is_inside(call, opened.dataset):
        return opened.contents
    outside = call.get(DatasetService).outside
    return await blocking(outside, opened.contents, opened.version.id, opened.manifest)


@stream(
    "GET",
    "/datasets/{dataset}/versions/{version}/packs/{pack}",
    scope="datasets:read",
    produces="application/octet-stream",
)
async def get_pack(call: StreamCall) -> None:
    """Get a pack of small files, or the part of it that `Range` asks for; zeros as in its table."""
    contents = await _contents(call, await _open(call))
    pack = call.path["pack"]
    known = pack in contents.packs
    size = await blocking(contents.pack_size, pack) if known else None
    if size is None:
        raise NotFound("This dataset has no such pack.", hint="Ask for its tables first.")
    start, length = take_range(call, size)
    await send(call, contents.pack_chunks(pack, start, length))


@stream(
    "POST",
    "/datasets/{dataset}/versions/{version}/objects",
    scope="datasets:read",
    consumes="application/json",
    produces="application/octet-stream",
)
async def get_objects(call: StreamCall) -> None:
    """Get many small objects at once, as a pack; the body is `{"md5": [...]}`."""
    asked = parse_request(await call.read())
    opened = await _open(call)
    parts = await blocking(batch_of, await _contents(call, opened), asked.md5)
    call.set_header("Content-Length", str(parts.size))
    await send(call, parts.chunks())


@stream(
    "GET",
    "/datasets/{dataset}/versions/{version}/files/{path+}",
    scope="datasets:read",
    query=ContentQuery,
    produces="*/*",
)
async def get_file(call: StreamCall) -> None:
    """Get a file's content, or the part of it that `Range` asks for."""
    opened = await _open(call)
    await send_file(call, opened, call.path["path"])


@stream(
    "HEAD",
    "/datasets/{dataset}/versions/{version}/files/{path+}",
    scope="datasets:read",
    query=ContentQuery,
)
async def look_at_file(call: StreamCall) -> None:
    """Get a file's size, type and hash."""
    opened = await _open(call)
    await send_file(call, opened, call.path["path"])


async def send_file(call: StreamCall, opened: Opened, path: str) -> None:
    """Answer with a file of a version, as nothing that a browser would run."""
    entry = await blocking(opened.manifest.find, path)
    if entry is None:
        raise NoSuchFile(show(path), opened.version.id)
    place = await blocking(opened.contents.locate, entry.md5, entry.size)
    if place is None or place.size != entry.size:
        raise proofs.damaged(path)
    start, length = take_range(call, entry.size)
    pieces = call.get(DatasetService).proofs.proved(
        opened.contents, place, path, entry.sha256, start, length
    )
    first = await blocking(next, pieces, b"") if call.method != "HEAD" else b""
    set_content_headers(call, entry.path, download=call.query.download)
    call.set_header("ETag", f'"{entry.sha256}"')
    call.set_header("Cache-Control", "private, max-age=31536000, immutable")
    if call.method != "HEAD":
        await call.write(first)
        await send(call, pieces)


async def send(call: StreamCall, chunks: Iterator[bytes]) -> None:
    """Send pieces as they are read."""
    while (data := await blocking(next, chunks, None)) is not None:
        await call.write(data)
