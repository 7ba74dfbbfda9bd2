"""``kill -9`` in the middle of things: no half version, nothing lost, nothing made twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.times import now
from nablahub.datasets import uploads
from nablahub.datasets.cache import remove_tree
from nablahub.datasets.errors import BadPath
from nablahub.datasets.packs import SMALL
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import DatasetRow, UploadRow
from nablahub.service.app import Service
from tests.unit.datasets import child
from tests.unit.datasets.builders import read, write

OLD = {"a": b"1", "gone": b"old", "big": b"b" * (SMALL + 1)}
NEW = {"a": b"1", "b/c": b"2", "empty": b"", "big": b"c" * (SMALL + 1)} | {
    f"many/{i:03}": b"%d" % i for i in range(100)
}
SEEDS = range(1)
MOMENTS = 4


def run(state: Path, *arguments: str, kill_at: int = 0) -> tuple[int, dict[str, Any]]:
    env = {**os.environ, "KILL_AT": str(kill_at)}
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.datasets.child", str(state), *arguments],
        env=env, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return done.returncode, json.loads(done.stdout) if done.returncode == 0 else {}


def look(state: Path, dataset: str) -> dict[str, Any]:
    """What a service that starts now finds."""
    service = child.make(state)
    try:
        return child.look(service, dataset)
    finally:
        service.database.close()


def commit(state: Path, dataset: str, tree: Path, key: str) -> str:
    service = child.make(state)
    try:
        datasets = service.context.get(DatasetService)
        return datasets.commit_tree(dataset, tree, key=key, author="alice", source="run 1")
    finally:
        service.database.close()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, int]:
    """A state with one version; the dataset; how many acts the next commit takes."""
    root = tmp_path_factory.mktemp("crash")
    dataset = run(root / "state", "setup")[1]["result"]
    run(root / "state", "commit", dataset, str(write(root / "old", OLD)), "first")
    write(root / "new", NEW)
    shutil.copytree(root / "state", root / "count")
    acts = run(root / "count", "commit", dataset, str(root / "new"), "second")[1]["acts"]
    assert acts > 100
    return root, dataset, acts


def moments(seed: int, acts: int) -> list[int]:
    """Seeded moments, spread over the whole commit."""
    source = random.Random(seed)
    width = acts / MOMENTS
    return [int(part * width + source.random() * width) + 1 for part in range(MOMENTS)]


@pytest.mark.parametrize(
    "seed", [*SEEDS, *(pytest.param(s, marks=pytest.mark.slow) for s in range(1, 26))]
)
def test_a_killed_commit_is_whole_or_not_there(
    prepared: tuple[Path, str, int], tmp_path: Path, seed: int
) -> None:
    root, dataset, acts = prepared
    expected_old = {path: data.hex() for path, data in OLD.items()}
    expected_new = {path: data.hex() for path, data in NEW.items()}
    for moment in moments(seed, acts):
        state = tmp_path / str(moment)
        shutil.copytree(root / "state", state)
        code, _ = run(state, "commit", dataset, str(root / "new"), "second", kill_at=moment)
        found = look(state, dataset)
        trees = list(found["versions"].values())
        assert trees in ([expected_old], [expected_old, expected_new]), moment
        if code == 0:
            assert len(trees) == 2
        again = commit(state, dataset, root / "new", "second")
        after = look(state, dataset)
        assert len(after["versions"]) == 2
        assert after["versions"][again] == expected_new
        if len(trees) == 2:
            assert again in found["versions"]
        shutil.rmtree(state, ignore_errors=True)


def files_of(state: Path) -> set[str]:
    """What lies in the store, but what was put there by `age` alone."""
    store = state / "objects/te1"
    return {str(p.relative_to(store)) for p in store.rglob("*") if p.is_file()}


def sweep_daily(service: Service) -> None:
    """Do what the service does each day, while others may be writing."""
    building = service.context.get(DatasetService).building
    asyncio.run(building.sweeping.daily(""))
    building.collect_now("te1")


def age(service: Service, days: int) -> None:
    """Let the files and uploads be so old."""
    for path in service.settings.state.objects.rglob("*"):
        moment = time.time() - days * 24 * 3600
        os.utime(path, (moment, moment))

    def work(session: Session) -> None:
        for upload in session.scalars(select(UploadRow)):
            upload.touched_at = now() - timedelta(days=days)

    service.database.write_sync(work)


def test_what_a_kill_left_goes_where_others_may_be_writing(
    prepared: tuple[Path, str, int], tmp_path: Path
) -> None:
    root, dataset, acts = prepared
    left = 0
    for moment in moments(99, acts):
        state = tmp_path / str(moment)
        shutil.copytree(root / "state", state)
        run(state, "commit", dataset, str(root / "new"), "second", kill_at=moment)
        service = child.make(state)
        before = files_of(state)
        sweep_daily(service)
        assert files_of(state) == before, "of what is young somebody may still tell"
        age(service, days=8)
        theirs = {f"packs/{dataset}/theirs", f"manifests/{dataset}/theirs7", ".writing/theirs"}
        for name in theirs:
            place = state / "objects/te1" / name
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(b"being written just now")
        sweep_daily(service)
        kept = files_of(state)
        assert kept >= theirs
        service.database.close()
        look(state, dataset)  # As nobody else was writing, all goes that need not stay.
        assert kept - theirs == files_of(state)
        left += before != kept - theirs
        shutil.rmtree(state, ignore_errors=True)
    assert left, "no kill left anything"


def test_the_manifest_of_an_open_upload_stays(tmp_path: Path) -> None:
    service = child.make(tmp_path / "state")
    dataset = child.setup(service)

    def begin(session: Session) -> UploadRow:
        row = session.get_one(DatasetRow, dataset)
        return uploads.begin(session, row, uploads.Origin("alice"))

    upload = service.database.write_sync(begin)
    place = service.settings.state.objects / "te1/manifests" / dataset / upload.version
    place.parent.mkdir(parents=True)
    place.write_bytes(b"of a commit that is about to be sent again")
    age(service, days=2)
    sweep_daily(service)
    assert place.exists()
    age(service, days=8)
    sweep_daily(service)
    assert not place.exists()
    service.database.close()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_killed_materialisation_is_never_seen_half(
    prepared: tuple[Path, str, int], tmp_path: Path, seed: int
) -> None:
    root, dataset, _ = prepared
    (version,) = look(root / "state", dataset)["versions"]
    shutil.copytree(root / "state", tmp_path / "count", symlinks=True)
    remove_tree(tmp_path / "count/cache")
    acts = run(tmp_path / "count", "materialise", version)[1]["acts"]
    for moment in moments(seed, acts):
        state = tmp_path / str(moment)
        shutil.copytree(root / "state", state)
        remove_tree(state / "cache")
        run(state, "materialise", version, kill_at=moment)
        seen = [p for p in (state / "cache").glob("*/*") if not p.name.startswith(".")]
        assert all(read(tree) == OLD for tree in seen)
        found = look(state, dataset)
        assert len(found["versions"]) == 1
        assert [p.name[0] for p in (state / "cache/te1").iterdir()] == ["d"]


def test_nothing_is_left_of_a_commit_that_was_refused(tmp_path: Path) -> None:
    service = child.make(tmp_path / "state")
    dataset = child.setup(service)
    datasets = service.context.get(DatasetService)
    datasets.commit_tree(dataset, write(tmp_path / "old", OLD), key="1", author="a", source="run")
    before = child.look(service, dataset)
    tree = write(tmp_path / "new", NEW)
    (tree / "zz").symlink_to("/etc/hostname")
    with pytest.raises(BadPath, match="absolute"):
        datasets.commit_tree(dataset, tree, key="2", author="a", source="run")
    (tree / "zz").unlink()
    (tree / "many").chmod(0)
    assert child.look(service, dataset) == before
    version = datasets.commit_tree(dataset, tree, key="2", author="a", source="run")
    assert datasets.commit_tree(dataset, tree, key="2", author="a", source="run") == version
    assert read(datasets.materialise(version)) == NEW
    service.database.close()
