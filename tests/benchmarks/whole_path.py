"""Times the whole path beside the bare tools: ``python tests/benchmarks/whole_path.py [--json]``.

Rows: ``nablahub up`` to ready; spawn to ready against a plain JupyterHub; a one-line job over its
bare command; a notebook job over papermill as a process; a prediction through the public port
over a bare onnxruntime call. Both sides of a row run in turn, in one run, on tmpfs where there is
one.
"""

from __future__ import annotations

import argparse
import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from nablahub.client import Hub
from nablahub.core.environments import Environments
from nablahub.core.state import StateDir
from nablahub.core.transport import Transport
from tests.benchmarks.hubs import RunningHub, environment, our_hub, plain_hub
from tests.benchmarks.report import Row, print_report, timed
from tests.benchmarks.steps import notebook_job, notebook_text, one_line_job, served_model


def work_folder() -> str | None:
    """Return a tmpfs when there is one: a throttled disk would be what is measured."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def up_rows(folder: Path, count: int) -> list[Row]:
    """Time `nablahub up` until it is ready, first and later starts."""
    state = folder / "up"
    times = []
    for _ in range(count + 1):
        with our_hub(state) as hub:
            times.append(hub.seconds)
    return [
        Row("up to ready, first start", "s", times[:1]),
        Row("up to ready", "s", times[1:], goal="≤ 6 s", met=lambda r: r.median <= 6),
    ]


def spawn_row(ours: RunningHub, folder: Path, count: int) -> Row:
    """Time spawn to ready, ours and the plain hub's in turn."""
    row = Row(
        "spawn to ready", "s", [], [], "≤ 1.15 × plain hub", lambda r: (r.ratio or 9) <= 1.15,
        "JupyterHub, SimpleLocalProcessSpawner, traefik_file, same releases",
    )  # fmt: skip
    with plain_hub(folder / "plain") as plain:
        ours.spawn()
        plain.spawn()
        for _ in range(count):
            row.ours.append(ours.spawn())
            row.peer.append(plain.spawn())
    return row


def job_row(hub: Hub, count: int) -> Row:
    """Time a job of one line from its POST to Succeeded, beside the bare command."""
    row = Row(
        "job of one line", "ms", [], [], "≤ 30 ms over the command",
        lambda r: (r.overhead or 99) <= 30, "bash -c true",
    )  # fmt: skip
    project = hub.projects.ensure("bench")
    one_line_job(hub, project.id)
    for _ in range(count):
        row.ours.append(1000 * timed(lambda: one_line_job(hub, project.id)))
        row.peer.append(1000 * timed(lambda: subprocess.run(["bash", "-c", "true"], check=True)))
    return row


def notebook_row(hub: Hub, folder: Path, count: int) -> Row:
    """Time a notebook job beside papermill as a process of its own."""
    row = Row(
        "notebook job of three cells", "s", [], [], "≤ 1.15 × papermill",
        lambda r: (r.ratio or 9) <= 1.15, "python -m papermill in.ipynb out.ipynb",
    )  # fmt: skip
    runner = Environments(StateDir(folder).environments).ensure("runner")
    source = folder / "in.ipynb"
    source.write_text(notebook_text())
    command = [
        str(runner.python), "-m", "papermill", "-k", "python3", str(source),
        str(folder / "out.ipynb"),
    ]  # fmt: skip
    project = hub.projects.ensure("bench")

    def papermill() -> None:
        subprocess.run(command, check=True, capture_output=True, env=environment())

    notebook_job(hub, project.id)
    papermill()
    for _ in range(count):
        row.ours.append(timed(lambda: notebook_job(hub, project.id)))
        row.peer.append(timed(papermill))
    return row


def prediction_row(hub: Hub, count: int) -> Row:
    """Time predictions over one kept-alive connection, beside bare onnxruntime calls."""
    with served_model(hub) as served:
        row = Row(
            "prediction through Traefik, p50", "ms", [], [], "≤ 1 ms",
            lambda r: r.median <= 1, "onnxruntime session.run, one row",
        )  # fmt: skip
        for _ in range(50):
            served.predict()
            served.bare()
        for _ in range(count):
            row.ours.append(1000 * timed(served.predict))
            row.peer.append(1000 * timed(served.bare))
    return row


@contextlib.contextmanager
def client(hub: RunningHub) -> Iterator[Hub]:
    """Yield a client of a running hub."""
    with Hub(Transport(f"{hub.url}/services/nablahub", hub.token)) as found:
        yield found


def main() -> None:
    """Run all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--only", help="rows whose name contains this: up spawn job notebook pred")
    given = parser.parse_args()
    count = 3 if given.quick else 7

    def wanted(word: str) -> bool:
        return given.only is None or given.only == word

    rows: list[Row] = []
    started = perf_counter()
    with tempfile.TemporaryDirectory(dir=work_folder(), prefix="nablahub-bench-") as name:
        folder = Path(name)
        if wanted("up"):
            rows += up_rows(folder, count)
        with our_hub(folder / "state") as ours, client(ours) as hub:
            if wanted("spawn"):
                rows.append(spawn_row(ours, folder, count))
            if wanted("job"):
                rows.append(job_row(hub, 10 * count))
            if wanted("notebook"):
                rows.append(notebook_row(hub, folder, count))
            if wanted("pred"):
                rows.append(prediction_row(hub, 300 * count))
    print_report(rows, as_json=given.json)
    print(f"took {perf_counter() - started:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
