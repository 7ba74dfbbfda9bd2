"""A few large files: our CLI against ``cp`` or boto3's parallel multipart."""

from __future__ import annotations

import shutil
from pathlib import Path

from tests.benchmarks.data_bench import Bench
from tests.benchmarks.data_parts import make_tree, tree_digest
from tests.benchmarks.data_peers import boto, s3_environment
from tests.support.s3 import seaweedfs

MIB = 1024 * 1024


def large_files(bench: Bench, count: int, size: int) -> None:
    """Commit and get a few large files."""
    what, peer = f"{count} × {size // MIB} MiB", "cp -r" if bench.s3 is None else "boto3"
    tree = make_tree(bench.folder / "large", count, size, per_folder=1)
    wanted = tree_digest(tree)
    commit = bench.row(f"commit {what} to {bench.store}", peer_is=peer, goal=0.9)
    get = bench.row(f"get {what} from {bench.store}", peer_is=peer, goal=0.9)
    out = bench.folder / "out"
    for number in range(bench.repeats):
        name = f"large-{number}"
        bench.hub.reset_peak()
        took, peak = bench.cli(bench.home(), "put", name, str(tree), "--create")
        commit.ours.append(took)
        commit.memory.update(client=peak, service=bench.hub.peak)
        bench.restart()
        bench.hub.reset_peak()
        took, peak = bench.cli(bench.home(), "get", name, str(out))
        get.ours.append(took)
        get.memory.update(client=peak, service=bench.hub.peak)
        if tree_digest(out) != wanted:
            raise RuntimeError("what was committed did not come back")
        shutil.rmtree(out)
        bench.cli(bench.home(), "delete", name, "--yes")
    for _ in range(bench.repeats):
        took, back = _cp(bench, tree, out) if bench.s3 is None else _boto(bench, tree, out)
        commit.peer.append(took)
        get.peer.append(back)
        shutil.rmtree(out)
    shutil.rmtree(tree)


def _cp(bench: Bench, tree: Path, out: Path) -> tuple[float, float]:
    env = bench.hub.environment(bench.home())
    took, _ = bench.runner.run("cp", "-r", str(tree), str(out), cwd=bench.folder, env=env)
    return took, took


def _boto(bench: Bench, tree: Path, out: Path) -> tuple[float, float]:
    with seaweedfs() as s3:  # One of its own: what was deleted from the other still has its room.
        env = {**bench.hub.environment(bench.home()), **s3_environment(s3)}
        bucket, cwd = s3.bucket(), bench.folder
        took, _ = bench.runner.run(*boto("put", s3, bucket, tree), cwd=cwd, env=env)
        back, _ = bench.runner.run(*boto("get", s3, bucket, out), cwd=cwd, env=env)
    return took, back
