"""The three containers of a pod that mounts a bucket, as sandboxes of this machine.

They see what their volumes show them at the paths that a pod has, and nothing else.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import nablahub
from nablahub.core.environments import Environments
from nablahub.core.sandbox import Bind, Sandbox, probe, write_identity
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.kubernetes.inside import places
from tests.unit.jobs.pods import JOB, Pod

pytestmark = pytest.mark.skipif(probe() is not None, reason=str(probe()))
VOLUMES = {
    "fetch": {"buckets": "/buckets"},
    "supervisor": {
        "buckets/0/data": "/inputs/raw",
        "work": "/work",
        "artifacts": "/artifacts",
        "outputs": "/outputs",
    },
    "commit": {"buckets": "/buckets", "artifacts": "/artifacts", "outputs": "/outputs"},
}
SCRIPT = (
    "cd /inputs/raw; ls; printf 2 > a; rm gone; printf 2 > theirs; printf 2 > new; "
    "echo its last words; exit 3"
)


class Containers:
    """Starts them over one folder for each volume."""

    def __init__(self, pod: Pod, environment: Path, root: Path) -> None:
        self.pod, self.environment, self.root = pod, environment, root
        for name in ("task", "shared", "wishes", "buckets", "artifacts", "outputs", "work"):
            (root / name).mkdir(parents=True)

    def start(self, name: str, **task: Any) -> subprocess.Popen[bytes]:
        said = self.root / f"said-{name}"
        said.touch()
        given = self.root / "task" / ("task.json" if name == "supervisor" else "delivery.json")
        given.write_text(json.dumps(task))
        shown = {**VOLUMES[name], "shared": "/run/nablahub", "wishes": "/run/nablahub-wishes"}
        program = "/opt/nablahub/environment/bin/python"
        box = Sandbox(
            identity=write_identity(self.root / "identity"),
            binds=(
                Bind(self.environment, "/opt/nablahub/environment"),
                Bind(Path(nablahub.__path__[0]).parent, "/opt/nablahub/lib"),
                Bind(said, "/dev/termination-log", writable=True),
                Bind(given, f"/run/nablahub-task/{given.name}"),
                *(Bind(self.root / v, path, writable=True) for v, path in shown.items()),
            ),
            bases=(self.environment,),
            env={"PYTHONPATH": "/opt/nablahub/lib", "PATH": os.environ["PATH"]},
        )
        inside = f"nablahub.jobs.runners.kubernetes.inside.{name}"
        argv = box.argv([program, "-P", "-s", "-m", inside], options=["--as-pid-1"])
        return subprocess.Popen(argv, env=box.environ(), stdout=sys.stderr.fileno())

    def said(self, name: str) -> str:
        return (self.root / f"said-{name}").read_text()


def test_a_bucket_comes_in_and_goes_back(pod: Pod, environments: Path, tmp_path: Path) -> None:
    pod.put(raw__a=b"1", raw__gone=b"1", raw__theirs=b"1")
    pod.mount(("raw", "raw", False))
    found = Environments(environments).find("default")
    assert found is not None
    containers = Containers(pod, found.prefix, tmp_path / "pod")
    delivery = {**pod.task, "fetch": [], "workspace": False, "cached": False, "outputs": False}
    assert containers.start("fetch", **delivery).wait(60) == 0, containers.said("fetch")
    log = pod.service.state.jobs / JOB / files.LOG
    assert f"Copied s3://{pod.bucket}/raw: 3 files, 3 bytes." in log.read_text()
    pod.put(raw__theirs=b"3")
    commit = containers.start("commit", **delivery)
    main = containers.start(
        "supervisor", command=["sh", "-c", SCRIPT], env={"PATH": os.environ["PATH"]}, files={},
        timeout=None, grace=1, memory=None, places=["/work"], nodes=[],
    )  # fmt: skip
    assert main.wait(60) == 3, containers.said("supervisor")
    assert commit.wait(60) == 0, containers.said("commit")
    assert pod.s3.keys(pod.bucket) == {"raw/a", "raw/theirs", "raw/new"}
    assert (pod.get("raw/a"), pod.get("raw/theirs")) == (b"2", b"3")
    told = "1 files were not written back to s3://"
    assert str(pod.lost()).startswith(told)
    assert told in log.read_text().rpartition("its last words")[2]
    kept = pod.service.state.jobs / JOB / "artifacts" / "not-written-back"
    assert {p.name: p.read_text() for p in (kept / "0").iterdir()} == {"theirs": "2"}


@pytest.mark.parametrize(
    ("script", "code", "words", "outputs"),
    [
        ("mkfifo /artifacts/pipe; echo out > /outputs/o/x", 0, "pipe (a named pipe)", ["x"]),
        ("mkfifo /artifacts/pipe /outputs/o/y; echo out > /outputs/o/x", places.UNKEPT,
         "'/outputs/o/y' can't be kept: it is a named pipe.", []),
        ("mkfifo /artifacts/pipe; rm $LOG; ln -s /etc/passwd $LOG; exit 3", 0,
         "pipe (a named pipe)", []),
    ],
)  # fmt: skip
def test_what_cannot_be_brought_out_is_told(
    pod: Pod, environments: Path, tmp_path: Path, script: str, code: int, words: str,
    outputs: list[str],
) -> None:  # fmt: skip
    pod.mount()
    found = Environments(environments).find("default")
    assert found is not None
    containers = Containers(pod, found.prefix, tmp_path / "pod")
    for folder in ("outputs/o", "buckets/0/data"):
        (containers.root / folder).mkdir(parents=True)
    containers.start(
        "supervisor", command=["sh", "-c", f"echo ok > /artifacts/ok; {script}"],
        env={"PATH": os.environ["PATH"], "LOG": "/run/nablahub/log"}, files={},
        timeout=None, grace=1, memory=None, places=["/work"], nodes=[],
    ).wait(60)  # fmt: skip
    delivery = {**pod.task, "outputs": True, "datasets": ["o"]}
    assert containers.start("commit", **delivery).wait(60) == code, containers.said("commit")
    assert words in containers.said("commit")
    kept = pod.service.state.jobs / JOB
    assert (kept / "artifacts" / "ok").read_text() == "ok\n"
    assert [path.name for path in (kept / "outputs" / "o").glob("*")] == outputs


def test_what_does_not_fit_is_told_by_the_first(
    pod: Pod, environments: Path, tmp_path: Path
) -> None:
    pod.put(raw__a=bytes(100_000))
    pod.mount(("raw", "raw", True))
    found = Environments(environments).find("default")
    assert found is not None
    containers = Containers(pod, found.prefix, tmp_path / "pod")
    delivery = {**pod.task, "fetch": [], "workspace": False, "cached": False, "scratch": 65536}
    assert containers.start("fetch", **delivery).wait(60) == 3
    # Folders take room, too, on most file systems.
    words = r"holds 97\.7 KiB, and its pod has room for [1-6]\d\.0 KiB\."
    assert re.search(words, containers.said("fetch"))
