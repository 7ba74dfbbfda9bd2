"""Operations on drafts (versions built file by file), tags and differences."""

from __future__ import annotations

import hashlib

from sqlalchemy.orm import Session

from nablahub.core.idempotency import fingerprint, key_of, owner
from nablahub.core.operations import Call, StreamCall, at_leader, operation, stream
from nablahub.core.paging import Page
from nablahub.datasets import drafts, tags, uploads
from nablahub.datasets.arriving import mark
from nablahub.datasets.comparing import Difference, differences
from nablahub.datasets.manifest import KIND_EXECUTABLE, KIND_FILE, Entry, Parser
from nablahub.datasets.manifests import ManifestReader
from nablahub.datasets.patching import split_drops
from nablahub.datasets.paths import check_path
from nablahub.datasets.service import DatasetService
from nablahub.datasets.shapes import version_wire
from nablahub.datasets.store import DatasetRow, UploadRow, VersionRow, by_key, changes_of
from nablahub.datasets.threads import blocking
from nablahub.datasets.types import (
    Change,
    DatasetVersion,
    DiffQuery,
    DraftCommit,
    FilePut,
    FileWrite,
    Rename,
    Tag,
    TagPut,
)
from nablahub.datasets.upload_handlers import find_upload, large_chunks, take_object

FILES = "/datasets/{dataset}/uploads/{upload}/files/{path+}"


def _draft(call: Call) -> tuple[DatasetService, DatasetRow, UploadRow]:
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    return service, row, uploads.find(call.session, row, call.path["upload"])


@stream(
    "PUT", FILES, scope="datasets:write", status=204, query=FilePut,
    consumes="application/octet-stream",
)  # fmt: skip
async def put_draft_file(call: StreamCall) -> None:
    """Put a file into a draft; the body is its content."""
    path = check_path(call.path["path"])
    asked: FilePut = call.query
    dataset, upload = await find_upload(call)
    entry = await _take(call, dataset, upload, path, executable=asked.executable)
    await call.db_write(lambda s: drafts.stage(s, upload, entry))


@stream(
    "PUT", "/datasets/{dataset}/files/{path+}", scope="datasets:write", status=201,
    query=FileWrite, consumes="application/octet-stream",
)  # fmt: skip
async def write_file(call: StreamCall) -> DatasetVersion:
    """Make a version in which one file is new or has other bytes: the body.

    All other files are those of the latest version. With an `Idempotency-Key` it may be sent again
    as it is: the answer is then the version made before. Another body with that key is refused.
    """
    service, who = call.get(DatasetService), call.who
    path = check_path(call.path["path"])
    asked: FileWrite = call.query
    given = key_of(call.request_headers)

    def begin(session: Session) -> tuple[DatasetRow, str | None, VersionRow | UploadRow]:
        # All in one: what is committed under the key from now on moves the latest version.
        dataset = service.row(session, who, call.path["dataset"])
        key = given and fingerprint(owner(who), f"{dataset.id}/{path}", given.encode())
        origin = uploads.Origin(who.name, asked.source, asked.message)
        return dataset, key, by_key(session, key) or uploads.begin(session, dataset, origin)

    dataset, key, upload = await call.db_write(begin)
    if isinstance(upload, VersionRow):
        sha256, kind = await _digest(call), _kind(executable=asked.executable)
        await blocking(service.building.drafts.check_same, dataset, upload, path, sha256, kind)
        return version_wire(dataset, upload)
    try:
        await blocking(mark, service.parts(dataset.space).root, upload)
        entry = await _take(call, dataset, upload, path, executable=asked.executable)
        row = await blocking(service.building.drafts.write, dataset, upload, entry, key)
    except BaseException:
        await blocking(service.building.cancel, dataset.space, upload)
        raise
    return version_wire(dataset, row)


async def _digest(call: StreamCall) -> str:
    """Return the sha256 of the body."""
    proof = hashlib.sha256()
    async for data in large_chunks(call):
        await blocking(proof.update, data)
    return proof.hexdigest()


def _kind(*, executable: bool) -> str:
    return KIND_EXECUTABLE if executable else KIND_FILE


async def _take(
    call: StreamCall, dataset: DatasetRow, upload: UploadRow, path: str, *, executable: bool
) -> Entry:
    """Take the body in as the content of a file; a small one waits for its pack."""
    pushed = await take_object(call, dataset, upload, None)
    kind = _kind(executable=executable)
    return Entry(path, kind, pushed.size, str(pushed.md5), pushed.sha256)


@stream(
    "POST", "/datasets/{dataset}/uploads/{upload}/changes", scope="datasets:write", status=204,
    consumes="text/plain",
)  # fmt: skip
async def put_draft_changes(call: StreamCall) -> None:
    """Put files into a draft whose bytes came as packs and objects, and take others out.

    The body is first `- <path>` for each file that goes, then the lines of a manifest, sorted by
    the bytes of the paths: `<md5> <sha256> f|x <size> <path>`.
    """
    dataset, upload = await find_upload(call)
    service = call.get(DatasetService)
    gone, puts = await blocking(_read_changes, await call.read())
    for path in gone:
        await blocking(service.building.drafts.find, dataset, upload, path)

    def work(session: Session) -> None:
        for path in gone:
            drafts.unstage(session, upload, path)
        for entry in puts:
            drafts.stage(session, upload, entry)

    await call.db_write(work)


def _read_changes(text: bytes) -> tuple[list[str], list[Entry]]:
    gone, rest = split_drops(text)
    parser = Parser()
    puts = list(parser.feed(rest))
    parser.close()
    return gone, puts


@stream("DELETE", FILES, scope="datasets:write", status=204)
async def drop_draft_file(call: StreamCall) -> None:
    """Take a file out of a draft."""
    dataset, upload = await find_upload(call)
    found = call.get(DatasetService).building.drafts
    await blocking(found.drop, dataset, upload, call.path["path"])


@stream(
    "POST", "/datasets/{dataset}/uploads/{upload}/rename", scope="datasets:write", status=204,
    consumes="application/json", query=Rename,
)  # fmt: skip
async def rename_draft_file(call: StreamCall) -> None:
    """Give a file of a draft another path (`from`, `to`); its bytes are not touched."""
    dataset, upload = await find_upload(call)
    asked: Rename = call.query
    found = call.get(DatasetService).building.drafts
    await blocking(found.rename, dataset, upload, asked.path, asked.to)


@operation("GET", "/datasets/{dataset}/uploads/{upload}/changes", scope="datasets:read")
def list_draft_changes(call: Call) -> Page[Change]:
    """List what a draft puts and drops."""
    _, _, upload = _draft(call)
    rows = changes_of(call.session, upload.id)
    items = [
        Change(
            path=row.path, change="removed" if row.md5 is None else "put", size=row.size,
            md5=row.md5,
        )
        for row in rows
    ]  # fmt: skip
    return Page(items=items, next=None)


@at_leader  # Two at a time, of two processes, would write two manifests in one place.
@stream(
    "POST", "/datasets/{dataset}/uploads/{upload}/commit-changes", scope="datasets:write",
    status=201, query=DraftCommit, consumes="application/json",
)  # fmt: skip
async def commit_draft(call: StreamCall) -> DatasetVersion:
    """Make a version of what a draft changes.

    When another version came since the draft began, the changes are put upon that one, unless
    both touched the same paths: then nothing is committed, and the answer (409) names them. Sent
    again after it worked, it answers with the same version.
    """
    service, who = call.get(DatasetService), call.who
    asked: DraftCommit = call.query

    def look(session: Session) -> tuple[DatasetRow, UploadRow | VersionRow]:
        dataset = service.row(session, who, call.path["dataset"])
        return dataset, uploads.find_or_made(session, dataset, call.path["upload"])

    dataset, found = await call.db_read(look)
    if isinstance(found, UploadRow):
        found = await blocking(service.building.drafts.commit, dataset, found, rebase=asked.rebase)
    return version_wire(dataset, found)


@operation("GET", "/datasets/{dataset}/tags", scope="datasets:read")
def list_tags(call: Call) -> Page[Tag]:
    """List the tags of a dataset."""
    row = call.get(DatasetService).readable(call.session, call.who, call.path["dataset"])
    return Page(items=tags.all_of(call.session, row), next=None)


@operation("PUT", "/datasets/{dataset}/tags/{tag}", scope="datasets:write")
def put_tag(call: Call, body: TagPut) -> Tag:
    """Set a tag, or move it, in one step."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    version = service.version(call.session, row, body.version)
    name, who = call.path["tag"], call.who.name
    made = tags.put(call.session, row, name, version, who, body.expected)
    service.tell(call.session, row, "changed")
    return made


@operation("DELETE", "/datasets/{dataset}/tags/{tag}", scope="datasets:write")
def delete_tag(call: Call) -> None:
    """Delete a tag; the version stays."""
    service = call.get(DatasetService)
    row = service.row(call.session, call.who, call.path["dataset"])
    tags.remove(call.session, row, call.path["tag"])
    service.tell(call.session, row, "changed")


@stream(
    "GET", "/datasets/{dataset}/versions/{version}/diff", scope="datasets:read", query=DiffQuery
)
async def diff_versions(call: StreamCall) -> Page[Change]:
    """List the files that differ from this version to another, by path."""
    service, who, path = call.get(DatasetService), call.who, call.path
    asked: DiffQuery = call.query

    def look(session: Session) -> tuple[ManifestReader, ManifestReader]:
        row = service.readable(session, who, path["dataset"])
        old = service.version(session, row, path["version"])
        return service.manifest(row, old), service.manifest(
            row, service.version(session, row, asked.to)
        )

    rows = await blocking(differences, *await call.db_read(look))
    rows = [found for found in rows if found.path > (asked.cursor or "")]
    following = rows[asked.limit - 1].path if len(rows) > asked.limit else None
    return Page(items=[_change(found) for found in rows[: asked.limit]], next=following)


def _change(found: Difference) -> Change:
    old, new = found.old, found.new
    return Change(
        path=found.path, change=found.change, size=new and new.size, md5=new and new.md5,
        old_size=old and old.size, old_md5=old and old.md5,
    )  # fmt: skip
