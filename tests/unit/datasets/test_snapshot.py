"""What is known of a folder is used only while it is true."""

from __future__ import annotations

import hashlib
import os
import time
from array import array
from pathlib import Path

import pytest

from nablahub.datasets.errors import BadPath
from nablahub.datasets.index import FIELDS, YOUNG, Files, list_folder, place_of, save
from nablahub.datasets.snapshot import Snapshot
from tests.unit.datasets.builders import write

FILES = {"a": b"a", "b/c": b"bc", "b/d/e": b"bde", "f.bin": b"f" * 5000}
OLD = time.time() - 3600


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path / "tree", FILES)


def learn(snapshot: Snapshot) -> None:
    for found in snapshot.unread:
        data = Path(found.file).read_bytes()
        digests = hashlib.md5(data).digest() + hashlib.sha256(data).digest()
        snapshot.learned[found.path] = digests


def commit(tree: Path, *, seen: int | None = None) -> Snapshot:
    """Do what a commit does; by default long after everything was written."""
    snapshot = Snapshot(tree, "m")
    learn(snapshot)
    snapshot.seen = time.time_ns() + 10 * YOUNG if seen is None else seen
    save(snapshot.root, snapshot.known_now("m"))
    return snapshot


def unread(tree: Path, manifest: str | None = "m") -> list[str]:
    return [found.path for found in Snapshot(tree, manifest).unread]


def test_what_did_not_change_is_not_read(tree: Path) -> None:
    assert [f.path for f in commit(tree).unread] == sorted(FILES)
    again = Snapshot(tree, "m")
    assert again.unchanged
    assert again.size == sum(map(len, FILES.values()))
    # Another manifest, or none: nothing is known.
    assert unread(tree, "other") == unread(tree, None) == sorted(FILES)


def test_each_kind_of_change_is_seen(tree: Path) -> None:
    commit(tree)
    (tree / "a").write_bytes(b"A")
    os.utime(tree / "a", (OLD - 1, OLD - 1))  # Another time, however coarse the clock is.
    assert unread(tree) == ["a"]
    commit(tree)
    os.utime(tree / "b/c", (OLD, OLD))
    snapshot = Snapshot(tree, "m")
    assert [f.path for f in snapshot.unread] == ["b/c"]
    learn(snapshot)
    assert snapshot.changed() == []  # Another time, the same bytes.
    commit(tree)
    (tree / "f.bin").chmod(0o755)
    snapshot = Snapshot(tree, "m")
    learn(snapshot)
    assert snapshot.changed() == ["f.bin"]  # The same bytes, but it may be run now.
    commit(tree)
    other = tree / "other"
    other.write_bytes(b"f" * 5000)
    os.utime(other, ns=((tree / "a").stat().st_mtime_ns,) * 2)
    other.replace(tree / "f.bin")
    assert unread(tree) == ["f.bin"]


def test_what_is_gone_is_told(tree: Path) -> None:
    commit(tree)
    (tree / "b/d/e").unlink()
    (tree / "a").rename(tree / "z")
    snapshot = Snapshot(tree, "m")
    assert (snapshot.gone, [f.path for f in snapshot.unread]) == (["a", "b/d/e"], ["z"])
    assert not snapshot.unchanged


def test_what_is_young_is_read_once_more(tree: Path) -> None:
    commit(tree, seen=time.time_ns())
    snapshot = Snapshot(tree, "m")
    assert [f.path for f in snapshot.unread] == sorted(FILES)
    learn(snapshot)
    assert snapshot.changed() == []


def test_links_and_hostile_names(tree: Path) -> None:
    (tree / "link").symlink_to("b/c")
    commit(tree)
    snapshot = Snapshot(tree, "m")
    assert [f.path for f in snapshot.unread] == ["link"]
    learn(snapshot)
    assert snapshot.changed() == []
    (tree / "b/bad\nname").write_bytes(b"x")
    with pytest.raises(BadPath, match="newline"):
        Snapshot(tree, "m")
    (tree / "b/bad\nname").unlink()
    os.mkfifo(tree / "pipe")
    with pytest.raises(BadPath, match="named pipe"):
        Snapshot(tree, "m")
    (tree / "pipe").unlink()
    (tree / "out").symlink_to("../../etc/passwd")
    with pytest.raises(BadPath, match="leads"):
        Snapshot(tree, "m")


def test_a_damaged_index_is_no_index(tree: Path) -> None:
    commit(tree)
    place = place_of(tree.resolve())
    data = place.read_bytes()
    for wrong in (b"", data[:100], data[:-1], b"x" * len(data)):
        place.write_bytes(wrong)
        assert unread(tree) == sorted(FILES)


def test_one_file_is_a_snapshot_too(tree: Path) -> None:
    snapshot = Snapshot(tree / "f.bin", None)
    assert [(f.path, f.size) for f in snapshot.unread] == [("f.bin", 5000)]


def test_inodes_of_64_bits_fit_into_the_index(tree: Path) -> None:
    """Overlays and network file systems use the highest bit; an index has signed numbers."""
    info = (tree / "a").stat()
    times = {"st_mtime_ns": info.st_mtime_ns, "st_ctime_ns": info.st_ctime_ns}
    large = os.stat_result((info.st_mode, 2**64 - 5, *info[2:]), times)
    files = Files(["a", "b"], [info, large])
    listed = list_folder("", files)
    assert listed.names == b"a\0b\0"
    assert listed.size == 2 * info.st_size
    assert array("q", listed.stats)[::FIELDS].tolist() == [info.st_ino, 2**63 - 5]
