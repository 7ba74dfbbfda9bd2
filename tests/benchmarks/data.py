"""How long data takes: our CLI against ``dvc`` as a command and bare system calls, in one run.

``python -m tests.benchmarks.data [--json] [--quick] [--files N] [--only PART]``. Everything lies
on a tmpfs (``--folder``), for a throttled disk would be all that is measured; ``large`` takes
13 GiB of it. A commit counts only if after a ``kill -9`` of the service a client with an empty
cache reads every byte right. What the peers of ``small-s3`` and ``large-s3`` need is got
from PyPI first.
``python -m tests.benchmarks.plots FILE`` makes the docs' picture of what ``--json`` prints.
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
from tests.benchmarks.data_bench import Bench, bench
from tests.benchmarks.data_large import large_files
from tests.benchmarks.data_lists import many_versions, mounts
from tests.benchmarks.data_parts import (
    Ratio,
    Runner,
    make_tree,
    print_rows,
    tree_digest,
    walk_seconds,
)
from tests.benchmarks.report import machine, timed

KIB = 1024
MIB = 1024 * KIB


def small_files(bench: Bench, files: int) -> None:
    """Commit, get, and commit again many small files."""
    what, to = f"{files:,} × 4 KiB", bench.store
    least = (12, 8) if bench.s3 is None else (25, 12)
    tree = make_tree(bench.folder / "tree", files, 4 * KIB)
    wanted = tree_digest(tree)
    commit = bench.row(f"commit {what} to {to}", peer_is="dvc add && dvc push", goal=least[0])
    get = bench.row(f"get {what} from {to}", peer_is="dvc pull", goal=least[1])
    again = bench.row(f"commit {what} again to {to}, unchanged", peer_is="dvc add", goal=10)
    walk = bench.row("  the same against scandir+stat", peer_is="scandir+stat", goal=1 / 3)
    part = bench.row(f"commit {what} to {to} with 1 % changed", peer_is="scandir+stat")
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
        bench.restart()
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
        bench.hub.reset_peak()
        took, peak = bench.cli(home, "put", name, str(tree))
        part.ours.append(took)
        part.memory.update(client=peak, service=bench.hub.peak)
        part.peer.append(walk_seconds(tree))
        if number == 0:
            one_file(bench, name)
    peers(bench, tree, commit, get, again)
    shutil.rmtree(tree)


def change(tree: Path, count: int) -> None:
    """Write other bytes to so many files, spread over the tree."""
    found = sorted(p for p in tree.rglob("*") if p.is_file())
    for path in found[:: max(1, len(found) // max(1, count))]:
        path.write_bytes(os.urandom(4 * KIB))


def one_file(bench: Bench, name: str) -> None:
    """Read and change one file of many over the hub, and list what is there."""
    at = f"({bench.store})"
    with bench.client() as hub:
        api = DatasetsAPI(hub)
        version = api.version(name).id
        paths = [file.path for file in islice(api.files(version), 0, 1000, 50)]
        read = bench.row(f"read one file of them over the hub {at}", most=0.05)
        read.ours = [timed(partial(api.read, version, path)) for path in paths]
        other = bench.row(f"change one file of them over the hub {at}", most=0.05)
        other.ours = [timed(partial(api.write, name, path, os.urandom(4096))) for path in paths]
        where = f"/datasets/{name}/versions/latest"
        tree = bench.row(f"list a page of 200 of their tree {at}", most=0.05)
        files = bench.row(f"list a page of 200 of all their files {at}", most=0.05)
        last = list(api.files(version))[-300].path
        for cursor in (None, last) * 5:
            tree.ours.append(timed(partial(hub.get, f"{where}/tree", folder="part-00001")))
            files.ours.append(timed(partial(hub.get, f"{where}/files", cursor=cursor)))


def peers(bench: Bench, tree: Path, commit: Ratio, get: Ratio, again: Ratio) -> None:
    """Do the same with dvc, which keeps the data in its own folder."""
    for number in range(bench.repeats):
        root = bench.folder / f"dvc-{number}"
        repo = bench.dvc(root)
        shutil.copytree(tree, repo.path / "data", symlinks=True)
        (added, peak), (pushed, other) = repo.run("add", "-q", "data"), repo.run("push", "-q")
        commit.peer.append(added + pushed)
        commit.memory.update(dvc=max(peak, other))
        again.peer.append(repo.run("add", "-q", "data")[0])
        took, peak = repo.clone(root / "clone").run("pull", "-q")
        get.peer.append(took)
        get.memory.update(dvc=peak)
        shutil.rmtree(root)


def main() -> None:
    """Run all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="a fifth of the files, once")
    parser.add_argument("--files", type=int, help="small files; default 100,000, quick 20,000")
    parser.add_argument("--runs", type=int, help="how often; default 3, quick 1")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"), help="where, on a tmpfs")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="only these rows")
    given: Any = parser.parse_args()
    runner, rows = Runner(), list[Ratio]()
    found = machine()
    with tempfile.TemporaryDirectory(prefix="nablahub-bench-", dir=given.folder) as name:
        for part in given.only or list(PARTS):
            folder, repeats = Path(name) / part, given.runs or (1 if given.quick else 3)
            s3 = part.endswith("-s3")
            with bench(folder, runner, repeats, rows, s3=s3) as made:
                PARTS[part](made, given)
            shutil.rmtree(folder)
        print_rows(rows, runner, found, as_json=given.json)


def _small(made: Bench, given: Any) -> None:
    small_files(made, given.files or (20_000 if given.quick else 100_000))


def _large(made: Bench, given: Any) -> None:
    large_files(made, *((4, 64 * MIB) if given.quick else (8, 512 * MIB)))


PARTS: dict[str, Callable[[Bench, Any], None]] = {
    "small": _small,
    "small-s3": _small,
    "large": _large,
    "large-s3": _large,
    "versions": lambda b, g: many_versions(b, 10_000 if g.quick else 100_000),
    "mounts": lambda b, g: mounts(b, (10, 20_000 if g.quick else 1_000_000)),
}

if __name__ == "__main__":
    main()
