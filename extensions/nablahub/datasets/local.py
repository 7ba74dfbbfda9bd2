"""Committing a folder of the hub's own machine: what a job left in its outputs."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Protocol

from nablahub.core.objects import ObjectStore, full_storage
from nablahub.datasets.errors import ChangedWhileRead
from nablahub.datasets.layout import object_key, pack_key
from nablahub.datasets.manifest import Entry
from nablahub.datasets.packs import HEAD, SMALL, PackBuilder, PackIndex, pack_name
from nablahub.datasets.scan import Found, Scan, read_chunks, read_small

#: Name of a large file that is being copied into the store.
LOCAL: Final = "local-"


class Register(Protocol):
    """What counts bytes that were stored; raises when they must not stay."""

    def claim(self, kind: str, key: str) -> None:
        """Say that an object is about to be stored."""

    def pack(self, name: str, size: int, index: PackIndex) -> None:
        """Count a pack of that table; ``size`` in bytes."""

    def others(self, md5: str, sha256: str, size: int) -> None:
        """Raise when a large object would be written over another one."""

    def object(self, md5: str, sha256: str, size: int) -> None:
        """Count a large object."""

    def room(self, size: int) -> None:
        """Raise when ``size`` more bytes would be too many."""


def make_readable(root: Path) -> None:
    """Give ourselves back what a job's umask or chmod took: reading its own outputs."""
    _open_up(root)
    for folder, names, files in os.walk(root):  # A folder is entered after it was opened up.
        for name in (*names, *files):
            _open_up(Path(folder, name))


def _open_up(path: Path) -> None:
    mode = path.lstat().st_mode
    wanted = 0o700 if stat.S_ISDIR(mode) else 0o400
    if (stat.S_ISDIR(mode) or stat.S_ISREG(mode)) and mode & wanted != wanted:
        path.chmod(stat.S_IMODE(mode) | wanted)


class TreeStorer:
    """Stores the objects of a scanned folder that the store lacks.

    Parameters
    ----------
    store : ObjectStore
        The team's store.
    dataset : str
        Id of the dataset.
    known : set of bytes
        md5s of what lies in the dataset's packs.
    register : Register
        Told of each pack and large object.
    """

    def __init__(
        self, store: ObjectStore, dataset: str, known: set[bytes], register: Register
    ) -> None:
        self._store = store
        self._dataset = dataset
        self._known = known
        self._register = register
        self._builder = PackBuilder()

    def entries(self, scan: Scan) -> Iterator[Entry]:
        """Store what is missing and yield the entry of each file, in order."""
        for found in scan.files:
            yield self.store(found)
        self.flush()

    def store(self, found: Found) -> Entry:
        """Store a file, a small one at the latest with :meth:`flush`, and return its entry."""
        return self._small(found) if found.size <= SMALL else self._large(found)

    def _small(self, found: Found) -> Entry:
        data, md5, sha256 = read_small(found, SMALL)
        if md5 not in self._known:
            if not self._builder.fits(len(data)):
                self.flush()
            self._builder.add(md5, sha256, data)
        return Entry(found.path, found.kind, found.size, md5.hex(), sha256.hex())

    def flush(self) -> None:
        """Store the pack that is being filled."""
        builder, self._builder = self._builder, PackBuilder()
        if not len(builder):
            return
        parts = builder.parts()
        name, size = pack_name(parts[0]), sum(map(len, parts))
        self._register.room(size)
        self._register.claim("pack", pack_key(self._dataset, name))
        with self._store.create(pack_key(self._dataset, name)) as writer:
            for part in parts:
                writer.write(part)
            writer.commit()
        self._register.pack(name, size, PackIndex(len(builder), parts[0][HEAD:]))
        self._known.update(row[0] for row in builder.rows)

    def _large(self, found: Found) -> Entry:
        """Copy a large file while hashing it; its name in the store is known only afterwards."""
        self._register.room(found.size)
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        temporary = f"parts/{self._dataset}/{LOCAL}{secrets.token_hex(8)}"
        with full_storage(found.file):
            if (target := self._store.local(temporary)) is None:
                return self._large_elsewhere(found)
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with target.open("xb") as file:
                    for data in read_chunks(found):
                        md5.update(data)
                        sha256.update(data)
                        file.write(data)
                self._register.others(md5.hexdigest(), sha256.hexdigest(), found.size)
                self._store.adopt(target, object_key(md5.hexdigest()))
            finally:
                target.unlink(missing_ok=True)
        self._register.object(md5.hexdigest(), sha256.hexdigest(), found.size)
        return Entry(found.path, found.kind, found.size, md5.hexdigest(), sha256.hexdigest())

    def _large_elsewhere(self, found: Found) -> Entry:
        """Hash first, then send: a store that is not a directory wants the name at once."""
        md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
        for data in read_chunks(found):
            md5.update(data)
            sha256.update(data)
        self._register.others(md5.hexdigest(), sha256.hexdigest(), found.size)
        again = hashlib.sha256()
        self._register.claim("object", object_key(md5.hexdigest()))
        with self._store.create(object_key(md5.hexdigest())) as writer:
            for data in read_chunks(found):
                again.update(data)
                writer.write(data)
            if again.digest() != sha256.digest():
                raise ChangedWhileRead(found.path)
            writer.commit()
        self._register.object(md5.hexdigest(), sha256.hexdigest(), found.size)
        return Entry(found.path, found.kind, found.size, md5.hexdigest(), sha256.hexdigest())
