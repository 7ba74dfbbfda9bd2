"""Materialised versions: whole, read-only, shared."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from nablahub.core.objects import DirectoryStore, ObjectStore
from nablahub.core.s3 import S3Store
from nablahub.datasets.cache import materialise, remove_tree, sweep
from nablahub.datasets.contents import Contents, PackTables
from nablahub.datasets.errors import BadObject
from nablahub.datasets.packs import SMALL
from tests.support.s3 import SeaweedFS
from tests.unit.datasets.builders import entries, entry, read, store_files

FILES = {
    "a/b/c.txt": b"small",
    "a/b/d.txt": b"small",
    "a/empty": b"",
    "big.bin": b"x" * (SMALL + 1),
    "run.sh": b"#!/bin/sh\n",
}


@pytest.fixture(params=["directory", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "directory":
        return DirectoryStore(tmp_path / "objects")
    s3: SeaweedFS = request.getfixturevalue("s3")
    return S3Store(s3.config())


def contents(store: ObjectStore) -> Contents:
    return Contents(store, "ds1", store_files(store, "ds1", FILES), PackTables())


def test_the_tree_has_every_byte_and_is_read_only(store: ObjectStore, tmp_path: Path) -> None:
    rows = [e if e.path != "run.sh" else e._replace(kind="x") for e in entries(FILES)]
    target = materialise(contents(store), rows, tmp_path / "cache/te1/ds1-v1")
    assert read(target) == FILES
    modes = {p: (target / p).stat().st_mode & 0o777 for p in [*FILES, "a", "a/b", "."]}
    assert all(not mode & 0o222 for mode in modes.values())
    assert modes["run.sh"] & 0o111
    assert not modes["big.bin"] & 0o111
    assert [p.name for p in target.parent.iterdir()] == ["ds1-v1"]


def test_large_files_take_no_space_of_their_own(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "objects")
    target = materialise(contents(store), entries(FILES), tmp_path / "cache/ds1-v1")
    source = store.local(f"files/md5/{entry('', FILES['big.bin']).md5[:2]}")
    assert source is not None
    (large,) = source.iterdir()
    assert large.samefile(target / "big.bin") or large.stat().st_blocks


def test_again_is_the_same_tree_and_two_at_once_agree(tmp_path: Path) -> None:
    found = contents(DirectoryStore(tmp_path / "objects"))
    target = tmp_path / "cache/ds1-v1"
    threads = [
        threading.Thread(target=materialise, args=(found, entries(FILES), target)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    inode = target.stat().st_ino
    assert materialise(found, entries(FILES), target).stat().st_ino == inode
    assert read(target) == FILES
    assert [p.name for p in target.parent.iterdir()] == ["ds1-v1"]


def test_damaged_objects_are_named_and_leave_nothing(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "objects")
    packs = store_files(store, "ds1", FILES)
    path = tmp_path / "objects/packs/ds1" / packs[0]
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data.replace(b"small", b"smell"))
    with pytest.raises(BadObject, match=r"a/b/c\.txt"):
        materialise(Contents(store, "ds1", packs, PackTables()), entries(FILES), tmp_path / "c/v1")
    assert list((tmp_path / "c").iterdir()) == []


def test_a_missing_large_object_is_named(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path / "objects")
    found = contents(store)
    store.remove(
        f"files/md5/{entry('', FILES['big.bin']).md5[:2]}/{entry('', FILES['big.bin']).md5[2:]}"
    )
    with pytest.raises(BadObject, match=r"big\.bin"):
        materialise(found, entries(FILES), tmp_path / "c/v1")


def test_what_a_dead_process_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "te1/.making-x/a").mkdir(parents=True)
    (tmp_path / "te1/ds1-v1").mkdir()
    (tmp_path / "te1/.making-x/a").chmod(0o555)
    sweep(tmp_path)
    assert [p.name for p in (tmp_path / "te1").iterdir()] == ["ds1-v1"]
    remove_tree(tmp_path / "nothing")
