"""What the pods of several nodes mean together."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from nablahub.jobs.runners.kubernetes.together import Node, see_all, verdict_all

WISH = {"grace": 1, "message": "Anna cancelled it."}


def ended(verdict: str, code: int | None, at: float, **more: Any) -> dict[str, Any]:
    report = {
        "verdict": verdict, "exit_code": code, "message": "", "said": "", "started_at": 1.0,
        "finished_at": at, "peak_memory": int(at),
    }  # fmt: skip
    return {"terminated": {"exitCode": 1 if code is None else code,
                           "message": json.dumps(report), **more}}  # fmt: skip


def node(
    main: Any, *, commit: Any = None, gone: bool = False, meta: Any = None, **status: Any
) -> Node:
    done = commit or ({"terminated": {"exitCode": 0}} if "terminated" in main else {"running": {}})
    states = [{"name": "main", "state": main}, {"name": "commit", "state": done}]
    given = {"metadata": {"name": "p", **(meta or {})},
             "status": {"containerStatuses": states, **status}}  # fmt: skip
    return Node(given, gone)


RUNS = {"running": {"startedAt": "2026-01-01T00:00:05Z"}}
WAITS: dict[str, Any] = {"waiting": {"reason": "ContainerCreating"}}
WELL = ended("code", 0, 9.0)
#: As the cluster leaves those that it kills when another one has failed.
KILLED = {"deletionTimestamp": "1970-01-01T00:00:30Z", "deletionGracePeriodSeconds": 25}
EVICTED = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI",
            "lastTransitionTime": "1970-01-01T00:00:03Z"}]  # fmt: skip


@pytest.mark.parametrize(
    ("nodes", "over", "phase", "words"),
    [
        ({0: node(RUNS)}, False, "waiting", "1 of them are there"),
        ({0: node(RUNS), 1: node(WAITS)}, False, "waiting", "all of its 2 nodes"),
        ({0: node(RUNS), 1: node(RUNS)}, False, "running", ""),
        ({0: node(RUNS), 1: node(WELL)}, False, "running", ""),
        ({0: node(RUNS), 1: node(ended("code", 3, 9.0))}, False, "leaving", ""),
        ({0: node(WELL), 1: node(WELL)}, False, "ended", ""),
        ({0: node(WELL), 1: node(WELL, commit={"running": {}})}, False, "leaving", ""),
        ({0: node(RUNS, gone=True), 1: node(RUNS)}, False, "leaving", ""),
        # One failed before the other one was ever made.
        ({0: node(ended("code", 3, 9.0))}, False, "leaving", ""),
        ({0: node(ended("code", 3, 9.0))}, True, "ended", ""),
        (
            {0: node(RUNS), 1: node({"waiting": {"reason": "InvalidImageName"}})},
            False, "hopeless", "Node 1: ",
        ),
    ],
)  # fmt: skip
def test_how_far_several_nodes_have_come(
    nodes: dict[int, Node], over: bool, phase: str, words: str
) -> None:
    found = see_all(nodes, 2, over=over)
    assert found.phase == phase
    assert words in found.message


@pytest.mark.parametrize(
    ("nodes", "wish", "expected"),
    [
        ({0: node(WELL), 1: node(ended("code", 0, 8.0))}, None, ("code", 0, None)),
        ({0: node(WELL), 1: node(ended("code", 3, 8.0))}, None, ("code", 3, 1)),
        ({0: node(ended("code", 3, 8.5)), 1: node(ended("code", 4, 8.0))}, None, ("code", 4, 1)),
        # The first to fail, not the first to be killed for it.
        (
            {0: node(ended("lost", None, 7.0), meta=KILLED), 1: node(ended("code", 3, 8.0))},
            None, ("code", 3, 1),
        ),
        (
            {0: node(ended("code", 1, 9.0)),
             1: node({"terminated": {"reason": "OOMKilled", "exitCode": 137,
                                     "finishedAt": "1970-01-01T00:00:08Z"}})},
            None, ("oom", 137, 1),
        ),
        # Evicted, though the cluster's words for that and for a plain deletion look alike.
        (
            {0: node(ended("lost", None, 4.0), meta=KILLED),
             1: node(ended("lost", None, 9.0), meta=KILLED, conditions=EVICTED)},
            None, ("lost", None, 1),
        ),
        (
            {0: node(ended("cancelled", 143, 5.0)), 1: node(ended("cancelled", 143, 4.0))},
            WISH, ("cancelled", 143, 1),
        ),
        ({0: node(ended("code", 2, 3.0)), 1: node(ended("cancelled", 143, 4.0))}, WISH,
         ("code", 2, 0)),
        ({0: node(WELL)}, None, ("lost", None, None)),
    ],
)  # fmt: skip
def test_the_first_failure_is_the_verdict(
    nodes: dict[int, Node], wish: Any, expected: tuple[str, int | None, int | None]
) -> None:
    found = verdict_all(nodes, 2, wish)
    assert (found["verdict"], found["exit_code"], found.get("node")) == expected


def test_the_first_that_was_to_be_deleted_is_lost() -> None:
    # A node that lets its pod go takes the grace away: as if it had been asked for later.
    let_go = {"deletionTimestamp": "1970-01-01T00:00:07Z", "deletionGracePeriodSeconds": 0}
    first = node(ended("lost", None, 7.0), meta=let_go)
    then = node(ended("lost", None, 7.0), meta=KILLED)
    nodes = {0: replace(then, place=1), 1: replace(first, place=0)}
    assert verdict_all(nodes, 2, None)["node"] == 1
    # Of those that nobody watched, the cluster tells by the second when that was.
    earlier = {"deletionTimestamp": "1970-01-01T00:00:05Z", "deletionGracePeriodSeconds": 1}
    nodes = {0: then, 1: node(ended("lost", None, 7.0), meta=earlier)}
    assert verdict_all(nodes, 2, None)["node"] == 1


def test_it_took_as_long_as_all_of_them() -> None:
    found = verdict_all({0: node(ended("code", 0, 5.0)), 1: node(ended("code", 0, 7.0))}, 2, None)
    assert (found["started_at"], found["finished_at"], found["peak_memory"]) == (1.0, 7.0, 7)
