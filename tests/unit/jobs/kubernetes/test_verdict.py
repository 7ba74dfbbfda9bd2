"""What a pod's status means: the words are those that real clusters were seen to say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from nablahub.jobs.runners.kubernetes.inside import supervisor
from nablahub.jobs.runners.kubernetes.verdict import see, verdict

WISH = {"grace": 1, "message": "Anna cancelled it."}


def pod(main: Any = None, commit: Any = None, **status: Any) -> dict[str, Any]:
    states = [("main", main), ("commit", commit)]
    given = [{"name": n, "image": "img:1", "state": s} for n, s in states if s is not None]
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": given, **status}}


def ended(reason: str = "Error", code: int = 1, **report: Any) -> dict[str, Any]:
    message = json.dumps({"said": "", "message": "", **report}) if report else ""
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


OWN: dict[str, Any] = {"started_at": 1.0, "finished_at": 2.0, "peak_memory": 3}


@pytest.mark.parametrize(
    ("status", "wish", "expected", "words"),
    [
        (pod(ended(code=3, verdict="code", exit_code=3, **OWN)), None, ("code", 3), ""),
        (pod(ended(code=0, verdict="code", exit_code=0, **OWN)), WISH, ("code", 0), ""),
        (pod(ended(code=143, verdict="timeout", exit_code=143, **OWN)), None, ("timeout", 143), ""),
        (pod(ended("OOMKilled", 137)), None, ("oom", 137), "memory"),
        # cgroups of version 1: one process was killed, the supervisor told the rest.
        (pod(ended("OOMKilled", 1, verdict="code", exit_code=1, **OWN)), None, ("oom", 1), "mem"),
        (pod(ended("Completed", 0, verdict="code", exit_code=0, **OWN)), None, ("code", 0), ""),
        (pod(ended(code=137)), None, ("lost", None), "killed"),
        (pod(ended(code=137)), WISH, ("cancelled", None), "Anna"),
        (None, None, ("lost", None), "killed"),
        (None, WISH, ("cancelled", None), "Anna"),
        (
            pod(reason="Evicted", message="The node was low on resource: memory."),
            None, ("lost", None), "evicted, because its node needed the room: The node was low",
        ),
        (
            pod(reason="Evicted", message='Usage of EmptyDir volume "w" exceeds the limit "1M".'),
            None, ("disk", None), 'volume "w" exceeds the limit "1M". Write what is large',
        ),
        (pod(reason="NodeLost"), None, ("lost", None), "stopped answering"),
        (pod(reason="DeadlineExceeded"), None, ("timeout", None), "longer"),
        (
            pod(
                ended(code=1, verdict="lost", exit_code=None, **OWN),
                conditions=[{"type": "DisruptionTarget", "status": "True",
                             "reason": "EvictionByEvictionAPI"}],
            ),
            None, ("lost", None), "drained",
        ),
        (
            pod(conditions=[{"type": "DisruptionTarget", "status": "True",
                             "reason": "DeletionByTaintManager"}]),
            None, ("lost", None), "stops answering",
        ),
    ],
)  # fmt: skip
def test_verdicts(status: Any, wish: Any, expected: Any, words: str) -> None:
    found = verdict(status, wish)
    assert (found["verdict"], found["exit_code"]) == expected
    assert words in found["message"]


def waits(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("status", "phase", "words"),
    [
        (pod(waits("ContainerCreating")), "waiting", ""),
        (pod(waits("InvalidImageName", "bad")), "hopeless", "not valid"),
        (pod(waits("ErrImageNeverPull", "absent")), "hopeless", "load it there"),
        (pod(waits("ErrImagePull", "manifest unknown")), "hopeless", "could not be pulled"),
        (pod(waits("ErrImagePull", "i/o timeout")), "waiting", "i/o timeout"),
        (pod(waits("ImagePullBackOff", "back-off")), "hopeless", "check its name"),
        (pod(ended("StartError", 128)), "hopeless", "could not begin"),
        (
            pod(conditions=[{"type": "PodScheduled", "status": "False",
                             "message": "0/1 nodes are available: 1 Insufficient cpu."}]),
            "waiting", "Insufficient cpu",
        ),
        (pod({"running": {"startedAt": "2026-01-01T00:00:00Z"}}), "running", ""),
        (pod(ended(), {"running": {}}), "leaving", ""),
        (pod(ended(), ended()), "ended", ""),
        (pod(phase="Failed", reason="Evicted"), "ended", ""),
        (
            pod(phase="Failed", initContainerStatuses=[
                {"name": "fetch", "state": {"terminated": {"exitCode": 1, "message": "gone"}}}]),
            "hopeless", "could not be fetched: gone",
        ),
    ],
)  # fmt: skip
def test_how_far_a_pod_has_come(status: Any, phase: str, words: str) -> None:
    found = see(status)
    assert found.phase == phase
    assert words in found.message


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    free = {"/work": 1 << 20, "/storage": 4096}
    monkeypatch.setattr(supervisor, "_free", free.__getitem__)
    assert supervisor.no_room(["/work", "/storage"]) == "There is no room left in /storage."
    assert supervisor.no_room(["/work"]) == ""


def test_a_silent_node_is_told_while_its_pod_seems_to_run() -> None:
    main = {"running": {"startedAt": "2026-01-01T00:00:00Z"}}
    silent = [{"type": "Ready", "status": "False"}]
    made = pod(main, {"running": {}}, conditions=silent)
    for container in made["status"]["containerStatuses"]:
        container["ready"] = True
    assert see(made).message == "Its node does not answer; it may still run there."
    # A server whose own probe fails is not ready for a reason of its own.
    made["status"]["containerStatuses"][0]["ready"] = False
    assert see(made).message == ""


def test_a_bucket_that_cannot_be_mounted_is_told_in_its_own_words() -> None:
    words = "s3://b/raw holds 2 TiB, and its pod has room for 1 GiB."
    first = {"name": "fetch", "state": {"terminated": {"exitCode": 3, "message": words}}}
    found = see(pod(phase="Failed", initContainerStatuses=[first]))
    assert (found.phase, found.verdict, found.message) == ("hopeless", "mount", words)
