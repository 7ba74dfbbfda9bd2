"""What a job says of what did not arrive of what its command left."""

from __future__ import annotations

import re
from typing import Any

import pytest

from nablahub.jobs.runners.kubernetes.delivery import with_delivery
from nablahub.jobs.runners.kubernetes.inside.places import UNKEPT
from tests.unit.jobs.kubernetes.test_verdict import WISH, ended, pod

WELL = {"verdict": "code", "exit_code": 0, "message": ""}
FAILED = {"verdict": "code", "exit_code": 3, "message": ""}
TIMEOUT = {"verdict": "timeout", "exit_code": 143, "message": "It ran longer than 1 s."}
FULL = "The disk of the hub has 1 MiB left."


def commit(code: int, message: str = "", reason: str = "Error") -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "message": message}}


@pytest.mark.parametrize(
    ("found", "state", "wish", "verdict", "words", "left_out"),
    [
        (WELL, commit(0), None, "code", "", ""),
        (WELL, commit(0, "'s' was not kept."), None, "code", "", "'s' was not kept."),
        (WELL, commit(1, FULL), None, "lost", f"succeeded, but not all .* arrived: {FULL}", ""),
        (WELL, commit(137, reason="OOMKilled"), None, "lost", "ran out of memory", ""),
        (WELL, {"running": {}}, None, "lost", "not all of what it left arrived.", ""),
        (WELL, {"running": {}}, WISH, "cancelled", "^Anna cancelled it. Its command succ", ""),
        (WELL, commit(0), WISH, "code", "", ""),
        (WELL, commit(UNKEPT, "'s' is a socket."), None, "output", "^'s' is a socket.$", ""),
        (FAILED, commit(1, FULL), None, "code", "", f"Not all of what it left arrived: {FULL}"),
        (TIMEOUT, commit(0, "'s' was not kept."), None, "timeout", "1 s", "'s' was not kept."),
        (TIMEOUT, commit(137), None, "timeout", "1 s", "Not all of what it left arrived."),
    ],
)
def test_what_did_not_arrive_is_told(
    found: Any, state: Any, wish: Any, verdict: str, words: str, left_out: str
) -> None:
    told = with_delivery(found, pod(ended(), state), wish, there=True)
    assert told["verdict"] == verdict
    assert re.search(words, told["message"])
    assert told.get("left_out", "") == left_out


def test_outputs_that_are_not_there_are_no_success() -> None:
    told = with_delivery(WELL, pod(ended(), commit(0)), None, there=False)
    assert (told["verdict"], told["exit_code"]) == ("lost", None)
