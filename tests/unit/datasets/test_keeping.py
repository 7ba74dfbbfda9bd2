"""The cache stays below its size, and nothing that is read leaves it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nablahub.core.errors import NablaError
from nablahub.datasets.cache import GONE, MAKING
from nablahub.datasets.keeping import Keeping, Reader
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import DamageRow
from nablahub.service.app import Service
from tests.unit.datasets import child
from tests.unit.datasets.builders import read, write

FILES = {f"deep/{number}": b"%d" % number * 500 for number in range(40)}


class Stand:
    """A service without HTTP, and versions in it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.service: Service = child.make(root / "state")
        self.dataset = child.setup(self.service)
        self.count = 0

    @property
    def datasets(self) -> DatasetService:
        return self.service.context.get(DatasetService)

    @property
    def keeping(self) -> Keeping:
        return self.datasets.building.keeping

    def version(self) -> str:
        """Commit a version that is not quite as the others."""
        self.count += 1
        files = {**FILES, "number": b"%d" % self.count}
        tree = write(self.root / f"tree-{self.count}", files)
        return self.datasets.commit_tree(
            self.dataset, tree, key=str(self.count), author="alice", source="test"
        )

    def made(self, count: int) -> list[Path]:
        """Materialise new versions, the first used longest ago."""
        trees = [self.datasets.materialise(self.version()) for _ in range(count)]
        for age, tree in enumerate(reversed(trees)):
            record = self.keeping._ledger._record(tree)
            os.utime(record, (1e9 - age, 1e9 - age))
        return trees

    def child(self, verb: str, *words: str, kill_at: int = 0) -> Any:
        """Do something in a process that kills itself on the way; None when it did."""
        done = subprocess.run(
            [sys.executable, "-m", "tests.unit.datasets.child", str(self.root / "state"), verb,
             *words],
            env={**os.environ, "KILL_AT": str(kill_at)}, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return json.loads(done.stdout)
        assert done.returncode == -9, done.stderr
        return None


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    found = Stand(tmp_path)
    yield found
    found.service.database.close()


def test_what_was_not_used_for_longest_goes_first(stand: Stand) -> None:
    trees = stand.made(4)
    sizes = {tree.path: tree.size for tree in stand.keeping.trees()}
    assert sizes[trees[0]] >= sum(map(len, FILES.values()))
    stand.datasets.materialise(trees[0].name.replace("-", ":"))  # used again
    room = sum(sizes.values()) - 1
    would = stand.keeping.prune(room, dry_run=True)
    assert [tree.path for tree in would] == [trees[1]]
    assert all(tree.is_dir() for tree in trees)
    assert stand.keeping.prune(room) == would
    assert [tree.is_dir() for tree in trees] == [True, False, True, True]
    stand.keeping.prune(0)
    assert stand.keeping.trees() == []
    assert read(stand.datasets.materialise(trees[1].name.replace("-", ":")))["deep/7"] == b"7" * 500


def test_nothing_that_is_read_goes(stand: Stand) -> None:
    trees = stand.made(3)
    place = f"te1/{trees[0].name}"
    stand.keeping.readers.append(lambda _: [Reader(place, "job j1")])
    gone = stand.keeping.prune(0)
    assert [tree.path for tree in gone] == trees[1:]
    assert trees[0].is_dir()
    assert stand.keeping.users() == {place: ["job j1"]}


def test_what_the_store_is_repaired_from_stays(stand: Stand) -> None:
    (tree,) = stand.made(1)
    damage = DamageRow(team_id="te1", dataset_id=stand.dataset, md5="0" * 32)
    stand.service.database.write_sync(lambda s: s.add(damage))
    assert stand.keeping.prune(0) == []
    assert tree.is_dir()


def test_trees_of_an_earlier_release_are_measured(stand: Stand) -> None:
    (tree,) = stand.made(1)
    known = stand.keeping.trees()[0].size
    stand.keeping._ledger._record(tree).unlink()
    measured = stand.keeping.trees()[0].size
    assert 0.5 * known < measured < 2 * known


def test_damage_is_found_and_repaired_unless_somebody_reads(stand: Stand) -> None:
    good, bad = stand.made(2)
    file = bad / "deep/7"
    file.chmod(0o644)
    file.write_bytes(b"8" * 500)
    (bad / "deep").chmod(0o755)
    (bad / "deep/new").write_bytes(b"")
    found = {each.tree.path: each for each in stand.keeping.inspect()}
    assert found[good].damaged == []
    assert found[bad].damaged == ["deep/7", "deep/new"]
    readers = stand.keeping.readers
    readers.append(lambda _: [Reader(f"te1/{bad.name}", "job j1")])
    read_now = {each.tree.path: each for each in stand.keeping.inspect(repair=True)}[bad]
    assert (read_now.repaired, read_now.users) == (False, ["job j1"])
    readers.pop()
    repaired = {each.tree.path: each for each in stand.keeping.inspect(repair=True)}[bad]
    assert repaired.repaired
    assert file.read_bytes() == b"7" * 500
    assert not (bad / "deep/new").exists()


def test_readers_and_the_broom_never_meet(stand: Stand) -> None:
    """Who wrote itself down has a whole tree, whatever is evicted meanwhile."""
    version = stand.version()
    place = f"te1/{version.replace(':', '-')}"
    reading: list[Reader] = []
    stand.keeping.readers.append(lambda _: list(reading))
    ended = threading.Event()

    def sweep() -> None:
        while not ended.is_set():
            stand.keeping.prune(0)

    sweeper = threading.Thread(target=sweep)
    sweeper.start()
    try:
        for _ in range(30):
            reading.append(Reader(place, "a job"))
            tree = stand.datasets.materialise(version)
            assert len(list((tree / "deep").iterdir())) == len(FILES)
            reading.clear()
    finally:
        ended.set()
        sweeper.join()


@pytest.mark.parametrize("verb", ["materialise", pytest.param("prune", marks=pytest.mark.slow)])
def test_killed_at_any_moment_leaves_whole_trees_only(stand: Stand, verb: str) -> None:
    (tree,) = stand.made(1)
    version = tree.name.replace("-", ":")
    words = (version,) if verb == "materialise" else ()
    if verb == "materialise":
        stand.keeping.prune(0)
    acts = stand.child(verb, *words)["acts"]
    for moment in (acts // 2, acts * 9 // 10):
        if verb == "materialise":
            stand.keeping.prune(0)
        else:
            stand.datasets.materialise(version)
        assert stand.child(verb, *words, kill_at=moment) is None
        if tree.is_dir():
            assert {name for name in read(tree) if name != "number"} == set(FILES)
        stand.datasets.building.sweeping.at_start()
        left = list(tree.parent.iterdir()) if tree.parent.exists() else []
        assert not [path for path in left if path.name.startswith((GONE, MAKING))]
    assert read(stand.datasets.materialise(version))["deep/39"] == b"39" * 500


def test_a_tree_of_what_is_gone_is_no_error(stand: Stand) -> None:
    with pytest.raises(NablaError):
        stand.datasets.materialise("ds0:nothing")
    stand.keeping.discard(stand.service.settings.state.cache / "te1" / "ds0-nothing")
