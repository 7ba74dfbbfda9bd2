"""Proving packs in processes of their own.

A pack is some thousand hashes of a few microseconds each. In a thread of the service each of them
hands the interpreter's lock over and waits to get it back, and all of them together would keep one
core busy. Run as a module this is one of those processes; it ends when the service does.
"""

from __future__ import annotations

import atexit
import gc
import mmap
import os
import queue
import sys
import threading
from functools import cache
from pathlib import Path
from typing import BinaryIO, Final

from nablahub.datasets.errors import BadObject
from nablahub.datasets.hashing import FAILED, FRAME
from nablahub.datasets.packs import PackChecker
from nablahub.datasets.workers import Worker, processors

FILE: Final = b"f"
DATA: Final = b"d"


def prove_pack(name: str, data: bytes | memoryview) -> int:
    """Prove that bytes are the pack of a name and return how many objects it has.

    Raises
    ------
    BadObject
        When a digest, a size or the layout is wrong.
    """
    checker = PackChecker(name)
    checker.feed(data)
    return checker.finish().count


def prove_pack_file(name: str, file: Path) -> int:
    """Prove a pack that lies in a file, where it lies; raises as :func:`prove_pack`."""
    with file.open("rb") as opened:
        if not os.fstat(opened.fileno()).st_size:  # Nothing can't be mapped.
            return prove_pack(name, b"")
        # Unmapped with its last view: an error has some of them in its traceback.
        return prove_pack(name, memoryview(mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)))


class Provers:
    """A few processes that prove packs, started when they are needed; used by many threads."""

    def __init__(self, most: int) -> None:
        self._lock = threading.Lock()
        self._all: set[Worker] = set()
        #: None stands for one that has not been started; the last put is the first taken.
        self._free: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(most):
            self._free.put(None)

    def prove_file(self, name: str, file: Path) -> int:
        """Prove a pack that lies in a file; see :func:`prove_pack`."""
        found = self._ask(FILE, name, str(file).encode())
        return prove_pack_file(name, file) if found is None else found

    def prove_data(self, name: str, data: bytes) -> int:
        """Prove a pack; see :func:`prove_pack`."""
        found = self._ask(DATA, name, data)
        return prove_pack(name, data) if found is None else found

    def _ask(self, kind: bytes, name: str, data: bytes) -> int | None:
        """Let one process do it; None when it died over it, or could not be started."""
        worker, kept = self._free.get(), None
        try:
            worker = worker or self._start()
            said, length = worker.ask(kind, [name.encode(), data])
            answer = worker.read(length).decode()
            if said == FAILED or answer.isdecimal():
                kept = worker
        except OSError:
            if worker is not None:
                self._end(worker)
            return None
        finally:
            self._free.put(kept)  # Somebody may wait for it, or for the one after it.
        if kept is None:  # It was cut off in its answer.
            self._end(worker)
            return None
        if said == FAILED:
            detail, _, hint = answer.partition("\0")
            raise BadObject(detail, hint=hint)
        return int(answer)

    def _start(self) -> Worker:
        worker = Worker("-P", "-m", __name__)
        with self._lock:
            self._all.add(worker)
        return worker

    def _end(self, worker: Worker) -> None:
        with self._lock:
            self._all.discard(worker)
        worker.kill()

    def close(self) -> None:
        """End them."""
        with self._lock:
            for worker in self._all:
                worker.kill()


@cache
def provers() -> Provers:
    """Return those of this process."""
    found = Provers(processors())
    atexit.register(found.close)
    return found


def serve(source: BinaryIO, target: BinaryIO) -> None:
    """Prove packs until there are no more."""
    gc.disable()  # Nothing here refers to itself, and a pack's table is many objects.
    while frame := source.read(FRAME.size):
        kind, length = FRAME.unpack(frame)
        name, data = source.read(64).decode(), source.read(length - 64)
        try:
            if kind == DATA:
                count = prove_pack(name, data)
            else:
                count = prove_pack_file(name, Path(data.decode()))
            answer = str(count).encode()
        except BadObject as error:
            kind, answer = FAILED, f"{error.detail}\0{error.hint}".encode()
        except OSError:
            return  # Whoever asked tries it himself, and hears why.
        target.write(FRAME.pack(kind, len(answer)) + answer)
        target.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
