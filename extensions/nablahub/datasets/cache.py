"""Materialised versions: one read-only tree each, shared by all that read it.

A tree is built under a temporary name and renamed, so it is seen whole or not at all; building it
twice at once is harmless. It is taken away in the same manner: renamed, then deleted. Large files
are links to the store's objects (a clone where the file system makes them, else a hard link), small
ones are written out of their packs, each checked against its md5.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from nablahub.core.objects import ObjectStore, full_storage, sync_files
from nablahub.datasets.contents import Contents
from nablahub.datasets.errors import BadObject
from nablahub.datasets.layout import object_key, pack_key
from nablahub.datasets.manifest import KIND_EXECUTABLE, Entry
from nablahub.datasets.paths import show

MAKING: Final = ".making-"
GONE: Final = ".gone-"
#: What a file takes at least, and by which its size is rounded up.
BLOCK: Final = 4096
_FICLONE: Final = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)


def materialise(contents: Contents, entries: Iterable[Entry], target: Path) -> Path:
    """Make the tree of a version at ``target``, unless it is there.

    Returns
    -------
    pathlib.Path
        ``target``.

    Raises
    ------
    StorageFull
        When the disk is full; nothing is left of the attempt.
    BadObject
        When stored bytes no longer have their digest.
    """
    if not target.is_dir():
        build(contents, entries, target)
    return target


def build(contents: Contents, entries: Iterable[Entry], target: Path) -> int:
    """Make a tree that is not there; raises as :func:`materialise`.

    Returns
    -------
    int
        Bytes that it takes on the disk beside what the store has, in whole blocks.
    """
    with full_storage(target.parent):
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        making = target.with_name(f"{MAKING}{target.name}-{secrets.token_hex(4)}")
        making.mkdir(mode=0o755)
        try:
            size = _fill(making, contents, entries)
            sync_files(making)  # A tree that is there is trusted for ever.
            try:
                making.rename(target)
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
        finally:
            remove_tree(making)  # Nothing is there after the rename.
    return size


def _fill(root: Path, contents: Contents, entries: Iterable[Entry]) -> int:
    """Write all files, those from one pack together and in the pack's order."""
    base, size = str(root), 0
    packed = contents.packed()
    by_pack: dict[str, list[tuple[int, Entry]]] = {}
    folders: dict[str, None] = {"": None}
    for entry in entries:
        _make_folders(base, entry.path, folders)
        known = packed.get(bytes.fromhex(entry.md5))
        if known is None:
            size += _place_large(contents, entry, f"{base}/{entry.path}")
        else:
            size += _blocks(entry.size)
            by_pack.setdefault(known.pack, []).append((known.number, entry))
    for pack, rows in by_pack.items():
        rows.sort()
        _unpack(base, contents, pack, rows)
    for folder in folders:
        Path(f"{base}/{folder}").chmod(0o555)
    return size + len(folders) * BLOCK


def _blocks(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def _unpack(base: str, contents: Contents, pack: str, rows: list[tuple[int, Entry]]) -> None:
    index = contents.table(pack)
    with _pack_bytes(contents.store, pack_key(contents.dataset, pack)) as whole:
        for number, entry in rows:
            row = index.at(number)
            data = whole[row.start : row.start + row.size]
            if hashlib.md5(data, usedforsecurity=False).digest() != row.md5:
                raise _damaged(entry)
            _write(f"{base}/{entry.path}", data, _mode(entry))


@contextmanager
def _pack_bytes(store: ObjectStore, key: str) -> Iterator[bytes | mmap.mmap]:
    """Give a pack's bytes: mapped where it is a file here, else read in one request."""
    source = store.local(key)
    if source is None:
        yield store.read(key)
        return
    with source.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        yield whole


def _make_folders(base: str, path: str, made: dict[str, None]) -> None:
    folder = path.rpartition("/")[0]
    if folder in made:
        return
    names = folder.split("/")
    for depth in range(1, len(names) + 1):
        part = "/".join(names[:depth])
        if part not in made:
            os.mkdir(f"{base}/{part}", 0o755)  # noqa: PTH102 (called for each folder of a tree)
            made[part] = None


def _mode(entry: Entry) -> int:
    return 0o555 if entry.kind == KIND_EXECUTABLE else 0o444


def _write(path: str, data: bytes, mode: int) -> None:
    # Plain system calls: this runs for each of perhaps a million small files.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        view = memoryview(data)
        while len(view):
            view = view[os.write(descriptor, view) :]
    finally:
        os.close(descriptor)


def _place_large(contents: Contents, entry: Entry, path: str) -> int:
    """Put a large file at a path, and return how many bytes of the disk that took."""
    key = object_key(entry.md5)
    source = contents.store.local(key)
    if contents.store.size(key) != entry.size:
        raise _damaged(entry)
    if source is not None:
        with source.open("rb") as file:  # The first time that its bytes are read here.
            if hashlib.file_digest(file, "sha256").hexdigest() != entry.sha256:
                raise _damaged(entry)
        if _clone(source, path, _mode(entry)):
            return 0
        # A hard link shares the object's mode, so executables get a copy of their own.
        if entry.kind != KIND_EXECUTABLE:
            with suppress(OSError):  # Another file system, or one without hard links.
                Path(path).hardlink_to(source)
                return 0
    digest = hashlib.md5(usedforsecurity=False)
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _mode(entry)), "wb") as file:  # noqa: PTH123
        for data in contents.store.chunks(key, 0, entry.size):
            digest.update(data)
            file.write(data)
    if digest.hexdigest() != entry.md5:
        raise _damaged(entry)
    return _blocks(entry.size)


def _clone(source: Path, path: str, mode: int) -> bool:
    """Share the blocks of a file, where the file system can (Btrfs, XFS); else leave nothing."""
    with source.open("rb") as file:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            fcntl.ioctl(descriptor, _FICLONE, file.fileno())
        except OSError:
            Path(path).unlink()
            return False
        finally:
            os.close(descriptor)
    return True


def _damaged(entry: Entry) -> BadObject:
    return BadObject(
        f"The stored bytes of '{show(entry.path)}' are damaged: they do not have the md5 "
        f"{entry.md5} that they had when they were stored.",
        hint="`nablahub datasets verify` restores them if there is a copy; else put the file "
        "again from where it came from.",
    )


def remove_tree(folder: Path) -> None:
    """Delete a tree of ours, read-only folders and all; what is not there is no error."""
    if not folder.exists():
        return
    for path, _, _ in os.walk(folder):
        Path(path).chmod(0o700)
    shutil.rmtree(folder)


def put_away(tree: Path) -> Path:
    """Rename a tree so that nobody finds it any more, and return its new name.

    What is open stays readable. A process that dies before it deleted the tree leaves it to
    :func:`sweep`.
    """
    gone = tree.with_name(f"{GONE}{tree.name}-{secrets.token_hex(4)}")
    tree.rename(gone)
    descriptor = os.open(tree.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)  # Else a crash could bring the name back over half a tree.
    finally:
        os.close(descriptor)
    return gone


def discard(tree: Path) -> None:
    """Take a tree away, at once for who looks for it; what is not there is no error."""
    with suppress(FileNotFoundError):
        remove_tree(put_away(tree))


def sweep(cache: Path) -> None:
    """Delete what a process left half-made or half-deleted in the cache when it died."""
    for mark in (MAKING, GONE):
        for path in cache.glob(f"*/{mark}*"):
            remove_tree(path)
