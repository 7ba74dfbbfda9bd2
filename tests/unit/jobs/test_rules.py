"""The rules of states, over the product of all states and wishes."""

from __future__ import annotations

from itertools import product
from typing import get_args

import pytest

from nablahub.jobs.errors import TransitionRefused
from nablahub.jobs.rules import RULES, Change, move, objection
from nablahub.jobs.store import JobRow
from nablahub.jobs.types import FINISHED, State

STATES: tuple[State, ...] = get_args(State)


def job(state: str, wanted: str) -> JobRow:
    return JobRow(id="j1", state=state, wanted=wanted, reason=None, boot=None)


def allowed(state: State, to: State, wanted: str, *, exit_known: bool, boot: str | None) -> bool:
    """What must hold, written once more and in one place."""
    if state in FINISHED:
        return False
    if to == "Succeeded" and not exit_known:
        return False
    if state == "Pending":
        return to != "Provisioned" or (boot is not None and wanted == "run")
    if to in ("Pending", "Provisioned", "Skipped") and to != state:
        return False
    return to != "Canceled" or wanted == "end"


@pytest.mark.parametrize(("state", "to"), list(product(STATES, STATES)))
def test_every_change(state: State, to: State) -> None:
    for wanted, known, boot in product(("run", "end"), (True, False), (None, "b")):
        row = job(state, wanted)
        change = Change(to, "why", boot=boot, exit_known=known)
        if allowed(state, to, wanted, exit_known=known, boot=boot):
            move(row, change)
            assert (row.state, row.reason, row.boot) == (to, "why", boot)
        else:
            with pytest.raises(TransitionRefused):
                move(row, change)
            assert (row.state, row.reason, row.boot) == (state, None, None)


def test_every_rule_tells_the_race_it_stops_and_stops_something() -> None:
    for rule in RULES:
        assert "Stops" in (type(rule).__doc__ or "")
    stopped = {
        (objection(job(state, wanted), Change(to, exit_known=known)) or "").partition(":")[0]
        for state, to, wanted, known in product(STATES, STATES, ("run", "end"), (True, False))
    }
    assert {type(rule).__name__ for rule in RULES} - stopped == {"NoStartAfterCancel"}
    late = objection(job("Pending", "end"), Change("Provisioned", boot="b"))
    assert late == "NoStartAfterCancel: it was cancelled"
