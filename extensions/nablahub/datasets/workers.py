"""A few processes that read, hash and write small files; see :mod:`nablahub.datasets.hashing`."""

from __future__ import annotations

import errno
import fcntl
import os
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

from nablahub.datasets import hashing
from nablahub.datasets.errors import ChangedWhileRead
from nablahub.datasets.hashing import ChangedFile, Hashed, Small
from nablahub.datasets.paths import show

#: Fewer files than these are done sooner here than processes are started.
FEW: Final = 2000
MOST: Final = 8
PIPE: Final = 1024 * 1024
_F_SETPIPE_SZ: Final = 1031  # linux/fcntl.h; Python's fcntl names it on Linux only.


def processors() -> int:
    """Return how many processes may run at once here."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(count or 1, MOST)


class Worker:
    """One process, and the pipes to it.

    Parameters
    ----------
    words : str
        What it runs in Python.
    """

    def __init__(self, *words: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=-1,
        )  # fmt: skip
        if self._process.stdin is None or self._process.stdout is None:
            raise AssertionError("unreachable")
        self._source, self._target = self._process.stdin, self._process.stdout
        for pipe in (self._source, self._target):
            with suppress(OSError):  # Not on this system, or above a user's limit.
                fcntl.fcntl(pipe, _F_SETPIPE_SZ, PIPE)

    def ask(self, kind: bytes, parts: Sequence[bytes]) -> tuple[bytes, int]:
        """Send a task; return the answer's kind and how many bytes it has."""
        self._source.write(hashing.FRAME.pack(kind, sum(map(len, parts))))
        for part in parts:
            self._source.write(part)
        self._source.flush()
        frame = self._target.read(hashing.FRAME.size)
        if len(frame) < hashing.FRAME.size:
            raise OSError(errno.EPIPE, "A process that reads files ended before its work did.")
        answer, length = hashing.FRAME.unpack(frame)
        return answer, length

    def read(self, size: int) -> bytes:
        """Return so many bytes of the answer."""
        return self._target.read(size)

    def close(self) -> None:
        """End it."""
        with suppress(OSError):
            self._process.communicate()

    def kill(self) -> None:
        """End it in the midst of something."""
        self._process.kill()
        self.close()


class Workers:
    """Does tasks, in processes when there is enough to do; used by several threads at once.

    Parameters
    ----------
    files : int
        How many files there will be: for few no process is started.
    """

    def __init__(self, files: int) -> None:
        self.count = processors() if files > FEW else 0
        self._free: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        self._all = [Worker("-I", "-S", hashing.__file__) for _ in range(self.count)]
        self._one = threading.Lock()
        for worker in self._all:
            self._free.put(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._all:
            worker.close() if kind is None else worker.kill()

    @contextmanager
    def _borrowed(self) -> Iterator[Worker]:
        worker = self._free.get()
        try:
            yield worker
        finally:
            self._free.put(worker)

    def hash(self, files: Sequence[Small]) -> Hashed:
        """Hash files; see :func:`nablahub.datasets.hashing.hash_files`.

        Raises
        ------
        ChangedWhileRead, OSError
        """
        if not self.count:
            try:
                return hashing.hash_files(files)
            except ChangedFile as error:
                raise ChangedWhileRead(show(str(error))) from error
        with self._borrowed() as worker:
            kind, length = worker.ask(hashing.HASH, [hashing.pack_small(files)])
            if kind == hashing.FAILED:
                raise _failure(worker.read(length))
            sizes = hashing.HASHED.unpack(worker.read(hashing.HASHED.size))
            return Hashed(*map(worker.read, sizes))

    def write(self, rows: Sequence[tuple[int, int, bytes, int, str]], data: bytes) -> list[str]:
        """Write slices of bytes to files and return the paths of the wrong ones; OSError."""
        if not self.count:
            return hashing.write_files(data, iter(rows))
        packed = b"".join([_row(*row) for row in rows])
        with self._borrowed() as worker:
            parts = [struct.pack("<Q", len(packed)), packed, data]
            kind, length = worker.ask(hashing.PUT, parts)
            answer = worker.read(length)
            if kind == hashing.FAILED:
                raise _failure(answer)
        text = answer.decode("utf-8", "surrogateescape")
        return text.split("\0") if text else []


def _row(start: int, size: int, digest: bytes, mode: int, path: str) -> bytes:
    name = path.encode("utf-8", "surrogateescape")
    return hashing.WRITE.pack(start, size, digest, mode, len(name)) + name


def _failure(answer: bytes) -> Exception:
    number, _, name = answer.decode("utf-8", "surrogateescape").partition("\0")
    if number == "0":
        return ChangedWhileRead(show(name))
    return OSError(int(number), os.strerror(int(number)), name or None)
