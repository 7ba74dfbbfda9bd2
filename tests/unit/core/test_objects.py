"""The same promises from every store: whole objects or none, and their bytes as they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from nablahub.core.errors import StorageFull
from nablahub.core.objects import DirectoryStore, FsspecStore, ObjectStore, full_storage


@pytest.fixture(params=["directory", "fsspec"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "objects")
    return FsspecStore(MemoryFileSystem(), f"/bucket-{tmp_path.name}/prefix")


def put(store: ObjectStore, key: str, data: bytes) -> None:
    with store.create(key) as writer:
        writer.write(data)
        writer.commit()


def test_what_was_put_comes_back(store: ObjectStore) -> None:
    data = bytes(range(256)) * 5000
    put(store, "a/b/c", data)
    assert store.read("a/b/c") == data
    assert store.read("a/b/c", 10, 20) == data[10:30]
    assert b"".join(store.chunks("a/b/c", 7, 1_200_000)) == data[7 : 7 + 1_200_000]
    assert store.size("a/b/c") == len(data)
    assert list(store.keys("a")) == ["a/b/c"]


def test_what_is_not_there(store: ObjectStore) -> None:
    assert store.size("nothing") is None
    with pytest.raises(FileNotFoundError):
        store.read("nothing")
    store.remove("nothing")
    assert list(store.keys("no/folder")) == []


def test_an_abandoned_object_is_never_seen(store: ObjectStore) -> None:
    put(store, "a/other", b"1")
    with store.create("a/b") as writer:
        writer.write(b"half")
    assert store.size("a/b") is None
    assert list(store.keys("a")) == ["a/other"]


def test_a_removed_object_is_gone(store: ObjectStore) -> None:
    put(store, "a/b", b"1")
    store.remove("a/b")
    assert store.size("a/b") is None


def test_objects_of_a_directory_are_read_only(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    put(store, "a/b", b"1")
    assert (tmp_path / "a/b").stat().st_mode & 0o777 == 0o444 & ~_umask()
    assert store.local("a/b") == tmp_path / "a/b"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_full_disk_says_so() -> None:
    full = Path("/dev/full")
    with pytest.raises(StorageFull, match="is full"), full_storage("here"):
        full.write_bytes(b"1")


def test_kill_in_the_middle_of_a_write_leaves_no_object(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from nablahub.core.objects import DirectoryStore\n"
        "with DirectoryStore(Path(sys.argv[1])).create('a/b') as w:\n"
        "    w.write(b'x' * 3_000_000); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    store = DirectoryStore(tmp_path)
    assert store.size("a/b") is None
    assert list(store.keys("a")) == []
