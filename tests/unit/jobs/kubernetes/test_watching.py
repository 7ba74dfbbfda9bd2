"""From the pods of a task to how its servers are."""

from __future__ import annotations

from typing import Any

from nablahub.jobs.runners.kubernetes.watching import no_pods, see_servers

BEGUN = "2026-05-01T10:00:00Z"


def pod(*, ready: bool = False, **main: Any) -> dict[str, Any]:
    state = main.pop("state", {"running": {"startedAt": BEGUN}})
    container = {"name": "main", "image": "i", "state": state, "ready": ready, **main}
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {
        "metadata": {"name": "p"},
        "status": {
            "phase": "Running", "conditions": conditions,
            "containerStatuses": [container, {"name": "beside", "state": {"running": {}}}],
        },
    }  # fmt: skip


def test_those_that_take_requests_are_counted() -> None:
    ending = pod(ready=True)
    ending["metadata"]["deletionTimestamp"] = BEGUN
    seen = see_servers([pod(ready=True), pod(ready=True), pod(), ending])
    assert (seen.ready, seen.message, seen.hopeless, seen.died) == (2, "", "", None)
    assert seen.started_at is not None
    assert see_servers([]).ready == 0


def test_one_that_ended_and_is_started_again_is_told() -> None:
    words = '{"verdict": "code", "said": "the model is broken"}'
    ended = {"terminated": {"exitCode": 3, "message": words}}
    waiting = {"waiting": {"reason": "CrashLoopBackOff"}}
    seen = see_servers([pod(state=waiting, lastState=ended, restartCount=2)])
    assert seen.message == (
        "A model server ended with the code 3 and was started again 2 times. the model is broken"
    )
    assert seen.died is not None
    main = seen.died["status"]["containerStatuses"][0]
    assert main["state"] == ended
    again = see_servers([pod(ready=True, lastState=ended, restartCount=2)])
    assert (again.ready, again.message) == (1, "")


def test_an_image_that_is_not_there_is_hopeless() -> None:
    waiting = {"waiting": {"reason": "ErrImageNeverPull", "message": "no"}}
    seen = see_servers([pod(state=waiting)])
    assert "is not on the node" in seen.hopeless
    assert seen.message == seen.hopeless


def test_why_there_are_no_pods() -> None:
    failed = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: few"}
    made = {"kind": "Deployment", "status": {"conditions": [failed]}}
    assert no_pods(made) == "The cluster makes no pod for it: exceeded quota: few"
    assert no_pods({"kind": "Deployment", "status": {}}) == ""
    assert no_pods(None) == ""
    seldon = {"kind": "SeldonDeployment", "status": {"description": "invalid graph"}}
    assert no_pods(seldon) == "Waiting for Seldon Core to make its pods: invalid graph"
    assert "has not said anything" in no_pods({"kind": "SeldonDeployment"})
