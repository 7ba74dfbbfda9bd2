"""Restoring pages of manifests whose stored bytes are damaged.

A page lies in the object of one version and may be pointed at by many. The same page is stored
again when all files are put once more, and a materialised tree of a version tells it anew.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nablahub.core.objects import CHUNK
from nablahub.datasets.errors import DamagedManifest
from nablahub.datasets.layout import cache_name, manifest_key
from nablahub.datasets.manifest import Entry, Page, encode
from nablahub.datasets.manifests import ManifestReader
from nablahub.datasets.scan import digest, scan
from nablahub.datasets.store import DatasetRow, VersionRow, versions_of

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService


def restore_page(
    service: DatasetService,
    dataset: DatasetRow,
    version: VersionRow,
    reader: ManifestReader,
    number: int,
) -> bool:
    """Put a page's bytes in their place again; false when there is no copy of them.

    Raises
    ------
    StoreAway, StorageFull
    """
    page = reader.root.pages[number]
    for data in _copies(service, dataset, version, reader, number):
        if hashlib.sha256(data).hexdigest() == page.digest:
            holder, start, length = page.place.split(" ")
            store, key = service.store(dataset.space), manifest_key(dataset.id, holder)
            whole = store.read(key)
            first, end = int(start), int(start) + int(length)
            with store.create(key) as writer:
                for at in range(0, first, CHUNK):
                    writer.write(whole[at : min(at + CHUNK, first)])
                writer.write(data)
                writer.write(whole[end:])
                writer.commit()
            return True
    return False


def _copies(
    service: DatasetService,
    dataset: DatasetRow,
    version: VersionRow,
    reader: ManifestReader,
    number: int,
) -> Iterator[bytes]:
    page = reader.root.pages[number]
    others = service.building.read(lambda s: list(s.scalars(versions_of(dataset.id))))
    for other in others:
        with suppress(DamagedManifest):
            there = service.manifest(dataset, other, anew=True)
            for place, found in enumerate(there.root.pages):
                if found.digest == page.digest and found.place != page.place:
                    yield there.page_bytes(place)
    name = cache_name(dataset.id, version.version)
    tree = service.settings.state.cache / dataset.team_id / name
    if tree.is_dir():
        following = reader.root.pages[number + 1 : number + 2]
        yield _from_tree(tree, page, following[0].first if following else None)


def _from_tree(tree: Path, page: Page, end: str | None) -> bytes:
    """Return the text of a page as the files of a materialised tree tell it."""
    first, last = page.first.encode(), None if end is None else end.encode()
    rows: list[Entry] = []
    for found in scan(tree).files:
        path = found.path.encode()
        if path < first or (last is not None and path >= last):
            continue
        rows.append(Entry(found.path, found.kind, found.size, *digest(found)))
    return encode(rows)
