"""The planner: any graph, any failures, any order of ends."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from nablahub.workflows.graph import TERMINAL, cycles, order, plan

ENDS = ["Succeeded", "Failed", "Error", "Canceled", "Stopped"]


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"j{i}" for i in range(draw(st.integers(1, 12)))]
    needs = {
        name: draw(st.lists(st.sampled_from(names[:i]), unique=True)) if i else []
        for i, name in enumerate(names)
    }
    shuffled = draw(st.permutations(names))
    return {name: needs[name] for name in shuffled}


@given(graphs(), st.data())
def test_every_run_ends_and_starts_each_job_at_most_once(
    needs: dict[str, list[str]], data: st.DataObject
) -> None:
    states: dict[str, str | None] = {}
    started: list[str] = []
    cancelled = False
    while True:
        # A planner asked twice (as after a crash) says the same.
        step = plan(needs, states, cancelled=cancelled)
        assert step == plan(needs, dict(states), cancelled=cancelled)
        for job in step.submit:
            assert all(states.get(other) == "Succeeded" for other in needs[job])
            assert job not in started
            started.append(job)
            states[job] = "Running"
        for job in step.skip or {}:
            assert states.get(job) is None
            states[job] = "Canceled" if cancelled else "Skipped"
        if step.state is not None:
            break
        running = [job for job, state in states.items() if state == "Running"]
        assert running, "nothing runs, and the run has not ended"
        states[data.draw(st.sampled_from(running))] = data.draw(st.sampled_from(ENDS))
        cancelled = cancelled or data.draw(st.integers(0, 9)) == 0
    assert set(states) == set(needs)
    assert step.state in TERMINAL
    assert (step.state == "Succeeded") == (set(states.values()) == {"Succeeded"})
    for job in needs:
        if job not in started:
            assert states[job] in ("Skipped", "Canceled")


@given(graphs(), st.data())
def test_a_cycle_is_found_wherever_it_is(needs: dict[str, list[str]], data: st.DataObject) -> None:
    assert cycles(needs) == []
    assert sorted(order(needs)) == sorted(needs)
    knot = data.draw(st.lists(st.sampled_from(sorted(needs)), min_size=1, unique=True))
    for job, other in zip(knot, [*knot[1:], knot[0]], strict=True):
        needs = {**needs, job: [*needs[job], other]}
    found = cycles(needs)
    assert found
    for cycle in found:
        assert cycle[0] == cycle[-1]
        assert all(b in needs[a] for a, b in itertools.pairwise(cycle))


def test_a_failed_job_skips_what_needs_it_and_nothing_else() -> None:
    needs = {"a": [], "b": ["a"], "c": ["b"], "d": [], "e": ["d", "a"]}
    step = plan(needs, {"a": "Failed", "d": "Succeeded"})
    assert step.submit == ()
    assert step.skip == {
        "b": "It needs 'a', which ended as Failed.",
        "c": "It needs 'b', which ended as Skipped.",
        "e": "It needs 'a', which ended as Failed.",
    }
    assert step.state == "Failed"
