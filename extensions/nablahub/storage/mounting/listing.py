"""What is in a folder of a bucket, and which of it can be files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from nablahub.core.s3 import S3Store
from nablahub.core.s3_errors import told

_LONGEST_NAME: Final = 255  # Bytes, NAME_MAX of Linux's file systems.


@dataclass(frozen=True)
class Remote:
    """An object: its path below the folder, size in bytes, and ETag without quotes."""

    path: str
    size: int
    etag: str


@dataclass
class Listing:
    """The objects that can be files, the folders, and how many others there are."""

    files: dict[str, Remote] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    odd: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())


def list_folder(store: S3Store) -> Listing:
    """Return what is in a store's folder.

    Raises
    ------
    StoreAway, StoreRefused
    """
    found = Listing()
    for item in _objects(store):
        path = str(item["Key"]).removeprefix(f"{store.root}/" if store.root else "")
        if path.endswith("/") and _is_file_name(path.rstrip("/")):
            found.folders.add(path.rstrip("/"))  # As consoles make "folders".
        elif _is_file_name(path):
            found.files[path] = Remote(path, int(item["Size"]), str(item["ETag"]).strip('"'))
        elif path:
            found.odd.append(path)
    for path in list(found.files):
        while path := path.rpartition("/")[0]:
            if path in found.folders:
                break
            found.folders.add(path)
    for path in found.folders & set(found.files):  # An object that has others below it.
        found.odd.append(found.files.pop(path).path)
    return found


def check_folder(store: S3Store) -> None:
    """Find out whether a folder may be listed; StoreAway or StoreRefused when not."""
    with told(store.config):
        store.client.list_objects_v2(
            Bucket=store.config.bucket, Prefix=f"{store.root}/".lstrip("/"), MaxKeys=1
        )


def _objects(store: S3Store) -> Iterator[dict[str, Any]]:
    pages = store.client.get_paginator("list_objects_v2")
    prefix = f"{store.root}/" if store.root else ""
    with told(store.config):
        for page in pages.paginate(Bucket=store.config.bucket, Prefix=prefix):
            yield from page.get("Contents", [])


def _is_file_name(path: str) -> bool:
    return bool(path) and all(
        part not in ("", ".", "..") and "\0" not in part and len(part.encode()) <= _LONGEST_NAME
        for part in path.split("/")
    )
