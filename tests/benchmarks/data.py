"""How long data takes: our CLI against ``dvc`` as a command and bare system calls, in one run.

``python -m tests.benchmarks.data [--json] [--quick] [--files N]``. Everything lies on a tmpfs
(``--folder``), for a throttled disk would be all that is measured. A commit counts only if after a
``kill -9`` of the service a client with an empty cache reads every byte right.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from nablahub.datasets.api import DatasetsAPI
from tests.benchmarks.data_bench import Bench
from tests.benchmarks.data_lists import many_versions, mounts
from tests.benchmarks.data_parts import (
    Dvc,
    Ratio,
    Runner,
    Service,
    make_tree,
    print_rows,
    service,
    tree_digest,
    walk_seconds,
)
from tests.benchmarks.report import machine, timed

KIB = 1024
MIB = 1024 * KIB


def restart(hub: Service) -> None:
    """Kill the service and start it again."""
    hub.kill()
    hub.start()


def small_files(bench: Bench, files: int) -> None:
    """Commit, get, and commit again many small files."""
    what = f"{files:,} × 4 KiB"
    tree = make_tree(bench.folder / "tree", files, 4 * KIB)
    wanted = tree_digest(tree)
    commit = bench.row(f"commit {what} to a directory", peer_is="dvc add && dvc push", goal=12)
    get = bench.row(f"get {what} from a directory", peer_is="dvc pull", goal=8)
    again = bench.row(f"commit {what} again, unchanged", peer_is="dvc add", goal=10)
    walk = bench.row("the same against scandir+stat", peer_is="scandir+stat", goal=1 / 3)
    part = bench.row(f"commit {what} with 1 % changed", peer_is="scandir+stat")
    for number in range(bench.repeats):
        home = bench.home()
        name = f"small-{number}"
        bench.hub.reset_peak()
        took, peak = bench.cli(home, "put", name, str(tree), "--create")
        commit.ours.append(took)
        commit.memory.update(client=peak, service=bench.hub.peak)
        for _ in range(2):  # The first sees which files are too young to be trusted.
            took, peak = bench.cli(home, "put", name, str(tree))
        again.ours.append(took)
        again.memory.update(client=peak)
        walk.ours.append(took)
        walk.peer.append(walk_seconds(tree))
        restart(bench.hub)
        out = bench.folder / "out"
        bench.hub.reset_peak()
        took, peak = bench.cli(bench.home(), "get", name, str(out))
        get.ours.append(took)
        get.memory.update(client=peak, service=bench.hub.peak)
        if tree_digest(out) != wanted:
            raise RuntimeError("what was committed did not come back")
        shutil.rmtree(out)
        change(tree, files // 100)
        wanted = tree_digest(tree)
        part.ours.append(bench.cli(home, "put", name, str(tree))[0])
        part.peer.append(walk_seconds(tree))
        if number == 0:
            one_file(bench, name)
    peers(bench, tree, commit, get, again)


def change(tree: Path, count: int) -> None:
    """Write other bytes to so many files, spread over the tree."""
    found = sorted(p for p in tree.rglob("*") if p.is_file())
    for path in found[:: max(1, len(found) // max(1, count))]:
        path.write_bytes(os.urandom(4 * KIB))


def one_file(bench: Bench, name: str) -> None:
    """Read and change one file of many over the hub, and list what is there."""
    with bench.client() as hub:
        api = DatasetsAPI(hub)
        version = api.version(name).id
        paths = [file.path for file in islice(api.files(version), 0, 1000, 50)]
        read = bench.row("read one file of them over the hub", most=0.05)
        read.ours = [timed(partial(api.read, version, path)) for path in paths]
        other = bench.row("change one file of them over the hub", most=0.05)
        other.ours = [timed(partial(api.write, name, path, os.urandom(4096))) for path in paths]
        where = f"/datasets/{name}/versions/latest"
        tree = bench.row("list a page of 200 of their tree", most=0.05)
        files = bench.row("list a page of 200 of all their files", most=0.05)
        last = list(api.files(version))[-300].path
        for cursor in (None, last) * 5:
            tree.ours.append(timed(partial(hub.get, f"{where}/tree", folder="part-00001")))
            files.ours.append(timed(partial(hub.get, f"{where}/files", cursor=cursor)))


def peers(bench: Bench, tree: Path, commit: Ratio, get: Ratio, again: Ratio) -> None:
    """Do the same with dvc, which keeps the data in its own folder."""
    for number in range(bench.repeats):
        root = bench.folder / f"dvc-{number}"
        repo = Dvc(bench.runner, root / "repo", root / "remote", root / "home")
        shutil.copytree(tree, repo.path / "data", symlinks=True)
        (added, peak), (pushed, other) = repo.run("add", "-q", "data"), repo.run("push", "-q")
        commit.peer.append(added + pushed)
        commit.memory.update(dvc=max(peak, other))
        again.peer.append(repo.run("add", "-q", "data")[0])
        took, peak = repo.clone(root / "clone").run("pull", "-q")
        get.peer.append(took)
        get.memory.update(dvc=peak)
        shutil.rmtree(root)


def large_files(bench: Bench, count: int, size: int) -> None:
    """Commit and get a few large files."""
    what = f"{count} × {size // MIB} MiB"
    tree = make_tree(bench.folder / "large", count, size, per_folder=1)
    wanted = tree_digest(tree)
    commit = bench.row(f"commit {what} to a directory", peer_is="cp -r", goal=0.9)
    get = bench.row(f"get {what} from a directory", peer_is="cp -r", goal=0.9)
    for number in range(bench.repeats):
        name, out, copy = f"large-{number}", bench.folder / "out", bench.folder / "copy"
        bench.hub.reset_peak()
        took, peak = bench.cli(bench.home(), "put", name, str(tree), "--create")
        commit.ours.append(took)
        commit.memory.update(client=peak, service=bench.hub.peak)
        restart(bench.hub)
        took, peak = bench.cli(bench.home(), "get", name, str(out))
        get.ours.append(took)
        get.memory.update(client=peak)
        if tree_digest(out) != wanted:
            raise RuntimeError("what was committed did not come back")
        shutil.rmtree(out)
        env = bench.hub.environment(bench.home())
        took, _ = bench.runner.run("cp", "-r", str(tree), str(copy), cwd=bench.folder, env=env)
        commit.peer.append(took)
        get.peer.append(took)
        shutil.rmtree(copy)
        bench.cli(bench.home(), "delete", name, "--yes")
    shutil.rmtree(tree)


def main() -> None:
    """Run all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="a fifth of the files, once")
    parser.add_argument("--files", type=int, help="small files; default 100,000, quick 20,000")
    parser.add_argument("--runs", type=int, help="how often; default 3, quick 1")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where, on a tmpfs")
    parser.add_argument("--only", choices=sorted(PARTS), action="append", help="only these rows")
    given: Any = parser.parse_args()
    runner = Runner()
    with (
        tempfile.TemporaryDirectory(prefix="nablahub-bench-", dir=given.folder) as name,
        service(Path(name) / "state", Path(name) / "home-0") as hub,
    ):
        bench = Bench(hub, Path(name), runner, given.runs or (1 if given.quick else 3))
        for part in given.only or sorted(PARTS, reverse=True):
            PARTS[part](bench, given)
        print_rows(bench.rows, runner, machine(), as_json=given.json)


PARTS: dict[str, Callable[[Bench, Any], None]] = {
    "small": lambda b, g: small_files(b, g.files or (20_000 if g.quick else 100_000)),
    "versions": lambda b, g: many_versions(b, 10_000 if g.quick else 100_000),
    "mounts": lambda b, g: mounts(b, (10, 20_000 if g.quick else 1_000_000)),
    "large": lambda b, g: large_files(b, *((4, 64 * MIB) if g.quick else (8, 512 * MIB))),
}

if __name__ == "__main__":
    main()
