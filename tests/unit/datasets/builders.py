"""Small builders for the tests of datasets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from nablahub.core.objects import ObjectStore
from nablahub.datasets.layout import object_key, pack_key
from nablahub.datasets.manifest import Entry
from nablahub.datasets.packs import SMALL, PackBuilder, pack_name


def entry(path: str, data: bytes, kind: str = "f") -> Entry:
    """The entry of a file with these bytes."""
    return Entry(
        path, kind, len(data), hashlib.md5(data).hexdigest(), hashlib.sha256(data).hexdigest()
    )


def entries(files: Mapping[str, bytes]) -> list[Entry]:
    """Sorted entries of a tree."""
    return [entry(path, files[path]) for path in sorted(files, key=str.encode)]


def write(root: Path, files: Mapping[str, bytes]) -> Path:
    """Write a tree."""
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    return root


def read(root: Path) -> dict[str, bytes]:
    """Read a tree back."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def store_files(store: ObjectStore, dataset: str, files: Mapping[str, bytes]) -> list[str]:
    """Put a tree's objects into a store and return the names of its packs."""
    builder = PackBuilder()
    for data in files.values():
        if len(data) > SMALL:
            with store.create(object_key(hashlib.md5(data).hexdigest())) as writer:
                writer.write(data)
                writer.commit()
        else:
            builder.add(hashlib.md5(data).digest(), hashlib.sha256(data).digest(), data)
    if not len(builder):
        return []
    name = pack_name(builder.parts()[0])
    with store.create(pack_key(dataset, name)) as writer:
        for part in builder.parts():
            writer.write(part)
        writer.commit()
    return [name]
