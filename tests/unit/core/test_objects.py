"""The same promises from every store: whole objects or none, and their bytes as they were."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nablahub.core.errors import StorageFull
from nablahub.core.objects import CHUNK, PART, DirectoryStore, ObjectStore, full_storage
from nablahub.core.s3 import S3Store
from tests.support.s3 import SeaweedFS


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "objects")
    s3: SeaweedFS = request.getfixturevalue("s3")
    return S3Store(s3.config(), "folder/team")


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
    assert store.tail("a/b/c", 100) == (data[-100:], len(data))
    assert store.tail("a/b/c", 2 * len(data)) == (data, len(data))
    assert store.size("a/b/c") == len(data)
    assert list(store.keys("a")) == ["a/b/c"]


def test_a_large_object_comes_back(store: ObjectStore, tmp_path: Path) -> None:
    data = os.urandom(2 * PART + 12345)
    with store.create("a/large") as writer:
        for start in range(0, len(data), 700_000):
            writer.write(data[start : start + 700_000])
        writer.commit()
    assert store.read("a/large") == data
    assert b"".join(store.chunks("a/large", 5, len(data) - 5)) == data[5:]
    assert max(map(len, store.chunks("a/large", 0, len(data)))) <= CHUNK
    file = (tmp_path / "objects" if isinstance(store, DirectoryStore) else tmp_path) / "made"
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(data)
    store.adopt(file, "a/adopted")
    assert store.read("a/adopted", 100) == data[100:]
    assert not file.exists()


def test_an_empty_object_comes_back(store: ObjectStore) -> None:
    put(store, "a/empty", b"")
    assert store.read("a/empty") == b""
    assert store.tail("a/empty", 100) == (b"", 0)
    assert store.size("a/empty") == 0
    assert list(store.chunks("a/empty", 0, 0)) in ([], [b""])


def test_an_abandoned_large_object_is_never_seen(store: ObjectStore) -> None:
    with store.create("a/b") as writer:
        writer.write(bytes(PART + 1))
    assert store.size("a/b") is None
    if isinstance(store, S3Store):
        assert list(store.transfers.begun()) == []


def test_what_is_not_there(store: ObjectStore) -> None:
    assert store.size("nothing") is None
    with pytest.raises(FileNotFoundError):
        store.read("nothing")
    with pytest.raises(FileNotFoundError):
        store.tail("nothing", 100)
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
    for name in "xyz":
        put(store, f"c/{name}", b"1")
    store.remove_all(["c/x", "c/y", "c/nothing"])
    assert list(store.keys("c")) == ["c/z"]


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
