"""Reading, hashing and writing many small files: the loops that run in processes of their own.

Run as a script this is one such process (see :mod:`nablahub.datasets.workers`), which takes tasks
from its stdin. It imports nothing but the standard library, so that it starts in some 20 ms.
Python's threads would be slower than none here: a file of 4 KiB is hashed in the time that two
threads need to hand each other the interpreter's lock.
"""

from __future__ import annotations

import gc
import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from hashlib import md5, sha256
from typing import BinaryIO, NamedTuple

#: Of a task or an answer: its kind, and the number of bytes that follow.
FRAME = struct.Struct("<cQ")
#: Of an answer to ``hash``: bytes of the lines, the digests, the pack's table and its objects.
HASHED = struct.Struct("<QQQQ")
#: Of a row of ``write``: where the bytes start, how many, their sha256, the mode, the path's bytes.
WRITE = struct.Struct("<QQ32sII")
HASH, PUT, FAILED = b"h", b"w", b"!"


class Small(NamedTuple):
    """A file: its path in the dataset, where it really lies, its size in bytes and its kind."""

    path: str
    file: str
    size: int
    kind: str


class Hashed(NamedTuple):
    """What came of hashing files.

    Parameters
    ----------
    lines : bytes
        Their lines in a manifest, in the order asked for.
    digests : bytes
        For each its md5 (16 bytes) and sha256 (32 bytes).
    table, data : bytes
        md5 (16), sha256 (32) and size (8) of each different object, and all their bytes.
    """

    lines: bytes
    digests: bytes
    table: bytes
    data: bytes


class ChangedFile(Exception):
    """A file was not of the size that it was found with; its path is the argument."""


def read_exactly(file: str, size: int, path: str) -> bytes:
    """Return a file's bytes; ChangedFile when they are more or fewer than ``size``."""
    # O_NONBLOCK: should a pipe have taken the file's place, opening it must not wait for ever.
    descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        data = os.read(descriptor, size + 1)
        while len(data) < size and (more := os.read(descriptor, size + 1 - len(data))):
            data += more
    finally:
        os.close(descriptor)
    if len(data) != size:
        raise ChangedFile(path)
    return data


def hash_files(files: Sequence[Small]) -> Hashed:
    """Read small files once and return their hashes and their bytes.

    Raises
    ------
    ChangedFile
        When one has another size than it was found with.
    OSError
        When one can't be read.
    """
    lines: list[str] = []
    digests: list[bytes] = []
    table: list[bytes] = []
    bodies: dict[bytes, bytes] = {}
    pack = struct.Struct("<16s32sQ").pack
    for path, file, size, kind in files:
        data = read_exactly(file, size, path)
        address = md5(data, usedforsecurity=False)
        proof = sha256(data)
        digest = address.digest()
        sha = proof.digest()
        digests.append(digest + sha)
        lines.append(f"{address.hexdigest()} {proof.hexdigest()} {kind} {size} {path}\n")
        if digest not in bodies:
            bodies[digest] = data
            table.append(pack(digest, sha, size))
    text = "".join(lines).encode("utf-8", "surrogateescape")
    return Hashed(text, b"".join(digests), b"".join(table), b"".join(bodies.values()))


def write_files(
    data: bytes | memoryview, rows: Iterator[tuple[int, int, bytes, int, str]]
) -> list[str]:
    """Write slices of ``data`` to files; return the paths of those that lack their sha256.

    Parameters
    ----------
    data : bytes
        Some objects, such as a pack.
    rows : iterator of tuple
        Start, size, sha256, mode and path of each file.
    """
    view = memoryview(data)
    wrong: list[str] = []
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
    last, proved = -1, False
    for start, size, digest, mode, path in rows:
        piece = view[start : start + size]
        if start != last or not size:
            proved = len(piece) == size and sha256(piece).digest() == digest
            last = start
        if not proved:
            wrong.append(path)
            continue
        descriptor = os.open(path, flags, mode)
        try:
            while size and (written := os.write(descriptor, piece)) < len(piece):
                piece = piece[written:]
        finally:
            os.close(descriptor)
    return wrong


def pack_small(files: Sequence[Small]) -> bytes:
    """Return files as a task's bytes."""
    text = "\0".join([f"{f.path}\0{f.file}\0{f.size}\0{f.kind}" for f in files])
    return text.encode("utf-8", "surrogateescape")


def unpack_small(data: bytes) -> list[Small]:
    """Undo :func:`pack_small`."""
    text = data.decode("utf-8", "surrogateescape").split("\0")
    return [
        Small(path, file, int(size), kind)
        for path, file, size, kind in zip(
            text[::4], text[1::4], text[2::4], text[3::4], strict=True
        )
    ]


def unpack_rows(data: memoryview) -> Iterator[tuple[int, int, bytes, int, str]]:
    """Yield the rows of a ``write``."""
    place = 0
    while place < len(data):
        start, size, digest, mode, length = WRITE.unpack_from(data, place)
        place += WRITE.size
        path = str(data[place : place + length], "utf-8", "surrogateescape")
        place += length
        yield start, size, digest, mode, path


def _hash(payload: bytes) -> list[bytes]:
    found = hash_files(unpack_small(payload))
    return [HASHED.pack(*map(len, found)), *found]


def _write(payload: bytes) -> list[bytes]:
    view = memoryview(payload)
    (length,) = struct.unpack_from("<Q", view)
    rows = unpack_rows(view[8 : 8 + length])
    return ["\0".join(write_files(view[8 + length :], rows)).encode("utf-8", "surrogateescape")]


TASKS: dict[bytes, Callable[[bytes], list[bytes]]] = {HASH: _hash, PUT: _write}


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Do tasks until there are no more."""
    gc.disable()  # Nothing here refers to itself, and a task is many thousand objects.
    while frame := source.read(FRAME.size):
        kind, length = FRAME.unpack(frame)
        try:
            answer, done = TASKS[kind](source.read(length)), kind
        except ChangedFile as error:
            answer, done = [b"0\0" + str(error).encode("utf-8", "surrogateescape")], FAILED
        except OSError as error:
            text = f"{error.errno or 0}\0{error.filename or ''}"
            answer, done = [text.encode("utf-8", "surrogateescape")], FAILED
        target.write(FRAME.pack(done, sum(map(len, answer))))
        for part in answer:
            target.write(part)
        target.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
