"""What may not grow with a dataset: lists of very many versions, mounts of very many files."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from time import perf_counter

from nablahub.core.extension import discover
from nablahub.core.state import StateDir
from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.service import DatasetService
from nablahub.mounts.api import MountsAPI
from nablahub.mounts.view import CACHE_VARIABLE, VARIABLE
from tests.benchmarks.data_bench import Bench
from tests.benchmarks.data_parts import make_tree
from tests.benchmarks.report import timed
from tests.support.service import running
from tests.unit.datasets.child import make as service_of

#: What a service needs for notebooks to mount.
MOUNTING = ("teams", "projects", "storage", "datasets", "models", "jobs", "mounts")


def many_versions(bench: Bench, count: int) -> None:
    """List the versions of a dataset that has very many, and mount one that is cached."""
    state = bench.folder / "state"
    with bench.client() as hub:
        api = DatasetsAPI(hub)
        name = "many versions"
        api.create(name)
        made = api.write(name, "a", b"1")
        tree = DatasetsAPI(hub).version(made.id)
        bench.hub.kill()
        add_versions(state, tree.dataset_id, count)
        bench.hub.start()
        row = bench.row(f"list a page of 50 of {count:,} versions, anywhere", most=0.05)
        path, cursor = f"/datasets/{name}/versions", None
        for number in range(40):
            params = {"sort": "number" if number >= 20 else "-created_at", "cursor": cursor}
            start = perf_counter()
            page = hub.get(path, **params)
            row.ours.append(perf_counter() - start)
            cursor = None if number == 19 else page["next"]


def add_versions(state: Path, dataset: str, count: int) -> None:
    """Copy a dataset's only version many times, in the database."""
    with sqlite3.connect(StateDir(state).database) as database:
        columns = [row[1] for row in database.execute("PRAGMA table_info(dataset_versions)")]
        row = database.execute(
            "SELECT * FROM dataset_versions WHERE dataset_id = ?", (dataset,)
        ).fetchone()
        values = dict(zip(columns, row, strict=True))
        names = ", ".join(f'"{column}"' for column in columns)
        marks = ", ".join("?" * len(columns))
        at = datetime.fromisoformat(values["created_at"])
        rows = (
            tuple({
                **values, "id": f"{dataset}:v{number:06}", "version": f"v{number:06}",
                "number": number, "key": None, "dvc_md5": f"{number:032x}",
                "created_at": (at + timedelta(seconds=number)).isoformat().replace("+00:00", "Z"),
            }.values())
            for number in range(2, count + 1)
        )  # fmt: skip
        database.executemany(f"INSERT INTO dataset_versions ({names}) VALUES ({marks})", rows)


def mounts(bench: Bench, counts: Sequence[int]) -> None:
    """Mount cached versions of few and many files, as a job does: by the service's own call."""
    for count in counts:
        tree = make_tree(bench.folder / f"mount-{count}", count, 64)
        bench.cli(bench.home(), "put", f"mount-{count}", str(tree), "--create")
        with bench.client() as hub:
            version = DatasetsAPI(hub).version(f"mount-{count}").id
        shutil.rmtree(tree)
        bench.hub.kill()
        row = bench.row(f"mount a cached version of {count:,} files", most=0.05)
        first = bench.row("  and fill the cache with it")
        service = service_of(bench.folder / "state")
        mount = partial(service.context.get(DatasetService).materialise, version)
        first.ours.append(timed(mount))
        row.ours = [timed(mount) for _ in range(20)]
        service.database.close()
        row = bench.row("  and show it in a running notebook", most=0.05)
        row.ours = list(in_a_notebook(bench.folder / "state", version, 20))
        bench.hub.start()


def in_a_notebook(state: Path, version: str, times: int) -> Iterator[float]:
    """Mount a cached version as `%nabla mount` does, each time under another name."""
    known = [each for each in discover() if each.name in MOUNTING]
    view = state.parent / "notebook"
    view.mkdir(exist_ok=True)
    os.environ |= {VARIABLE: str(view), CACHE_VARIABLE: str(StateDir(state).cache)}
    with running(state, known) as service:
        api = MountsAPI(service.transport("alice"))
        for number in range(times):
            start = perf_counter()
            made = api.mount(version, f"{number}")
            next(os.scandir(view / made.name))
            yield perf_counter() - start
            api.unmount(made.name)
