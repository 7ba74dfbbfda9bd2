"""The order of a workflow's jobs: who needs whom, and what is to be done next. Pure functions."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

TERMINAL: Final = frozenset({"Succeeded", "Failed", "Error", "Canceled", "Skipped", "Stopped"})
#: What a job that ended otherwise than well makes of those that need it.
UNWELL: Final = TERMINAL - {"Succeeded"}

Needs = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Plan:
    """What to do next in a run.

    Parameters
    ----------
    submit
        Jobs to start now, in the order of the spec.
    skip
        Jobs that will never run, with the reason.
    state
        The run's terminal state once nothing is left to wait for, else None.
    """

    submit: tuple[str, ...] = ()
    skip: Mapping[str, str] | None = None
    state: str | None = None


def plan(needs: Needs, states: Mapping[str, str | None], *, cancelled: bool = False) -> Plan:
    """Return what to do next.

    Parameters
    ----------
    needs
        For each job, in the order of the spec, the jobs it needs; without cycles.
    states
        State of each job; None or missing: not submitted yet.
    cancelled
        Whether the run shall end: nothing more is started.
    """
    now: dict[str, str | None] = {job: states.get(job) for job in needs}
    skip: dict[str, str] = {}
    for job in order(needs):
        if now[job] is not None:
            continue
        bad = next((other for other in needs[job] if now[other] in UNWELL), None)
        if cancelled:
            skip[job] = "The run was cancelled before this job started."
        elif bad is not None:
            skip[job] = f"It needs '{bad}', which ended as {now[bad]}."
        if job in skip:
            now[job] = "Canceled" if cancelled else "Skipped"
    submit = tuple(
        job
        for job in needs
        if now[job] is None and all(now[other] == "Succeeded" for other in needs[job])
    )
    done = all(state in TERMINAL for state in now.values())
    return Plan(submit, skip, verdict(now, cancelled=cancelled) if done else None)


def verdict(states: Mapping[str, str | None], *, cancelled: bool = False) -> str:
    """Return the run's terminal state: the worst of its jobs'."""
    found = set(states.values())
    if found == {"Succeeded"}:
        return "Succeeded"
    if cancelled:
        return "Canceled"
    for state in ("Stopped", "Error", "Failed", "Canceled"):
        if state in found:
            return state
    return "Failed"


def order(needs: Needs) -> list[str]:
    """Return the jobs, each after those it needs; jobs on a cycle are left out."""
    missing = {job: sum(other in needs for other in set(needs[job])) for job in needs}
    followers: dict[str, list[str]] = {job: [] for job in needs}
    for job, others in needs.items():
        for other in set(others):
            if other in followers:
                followers[other].append(job)
    result = [job for job, count in missing.items() if count == 0]
    for job in result:  # It grows while it is walked along.
        for follower in followers[job]:
            missing[follower] -= 1
            if missing[follower] == 0:
                result.append(follower)
    return result


def cycles(needs: Needs) -> list[list[str]]:
    """Return a cycle for each knot of jobs that wait for each other: it ends where it begins."""
    done = set(order(needs))
    left = {j: [o for o in others if o in needs] for j, others in needs.items() if j not in done}
    found: list[list[str]] = []
    named: set[str] = set()
    for start in left:
        if start in named:
            continue
        path = _way_back(left, start)
        if path:
            found.append(path)
            named |= set(path)
    return found


def _way_back(needs: Needs, start: str) -> list[str]:
    """Return the shortest way from `start` to itself, empty when there is none."""
    came_from: dict[str, str] = {}
    todo = deque([start])
    while todo:
        job = todo.popleft()
        for other in needs.get(job, ()):
            if other == start:
                path = [job]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return [*reversed(path), start]
            if other not in came_from:
                came_from[other] = job
                todo.append(other)
    return []


def ancestors(needs: Needs, job: str) -> set[str]:
    """Return all jobs that `job` waits for, directly or not."""
    found: set[str] = set()
    todo = list(needs.get(job, ()))
    while todo:
        other = todo.pop()
        if other not in found:
            found.add(other)
            todo += needs.get(other, ())
    return found
