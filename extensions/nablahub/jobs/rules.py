"""When a job may change its state: one rule a class, each against one race.

Every change of a state goes through :func:`move`, inside the write transaction that read the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

from nablahub.jobs.errors import TransitionRefused
from nablahub.jobs.store import JobRow
from nablahub.jobs.types import FINISHED, State


@dataclass(frozen=True)
class Change:
    """What a job shall become.

    Parameters
    ----------
    to : State
        The new state.
    reason : str or None
        Short code of why.
    boot : str or None
        The machine's boot in which it is being started.
    exit_known : bool
        Whether the runner said how the command ended.
    """

    to: State
    reason: str | None = None
    boot: str | None = None
    exit_known: bool = False


class Rule(Protocol):
    """Says why a change must not be, or None."""

    FROM: ClassVar[frozenset[State]]
    TO: ClassVar[frozenset[State]]

    def objection(self, job: JobRow, change: Change) -> str | None:
        """Return why not, or None."""


_ALL: frozenset[State] = frozenset[State]({"Pending", "Provisioned", "Running"}) | FINISHED


class FinishedStaysFinished:
    """The end is stored once.

    Stops the race of a cancel and an exit: the step that saw exit code 0 stores Succeeded while a
    request asks for the end; whoever comes second finds a finished job and changes nothing.
    """

    FROM: ClassVar = FINISHED
    TO: ClassVar = _ALL

    def objection(self, job: JobRow, change: Change) -> str | None:
        """Always object."""
        return f"it is {job.state} already"


class BootBeforeStart:
    """A job is only started after it is stored that it will be.

    Stops the loss of power between a start and the row that tells of it: after the reboot the
    job's folder may be empty again, and without the stored boot the command would run twice.
    """

    FROM: ClassVar = frozenset[State]({"Pending"})
    TO: ClassVar = frozenset[State]({"Provisioned"})

    def objection(self, job: JobRow, change: Change) -> str | None:
        """Object to a start without the boot."""
        return None if change.boot else "the boot in which it is started is not given"


class NoStartAfterCancel:
    """A job somebody cancelled in time is never started.

    Stops the race of a cancel and the step that provisions: the request commits while the step
    waits for an environment to be built; the step must see the wish in its own transaction.
    """

    FROM: ClassVar = frozenset[State]({"Pending"})
    TO: ClassVar = frozenset[State]({"Provisioned"})

    def objection(self, job: JobRow, change: Change) -> str | None:
        """Object when its end is wanted."""
        return "it was cancelled" if job.wanted == "end" else None


class NeverRunsBackwards:
    """A running job does not become a waiting one again.

    Stops two steps of different ages: a slow one that still believes the job is to be provisioned
    must not overwrite what a newer one saw.
    """

    FROM: ClassVar = frozenset[State]({"Provisioned", "Running"})
    TO: ClassVar = frozenset[State]({"Pending", "Provisioned", "Skipped"})

    def objection(self, job: JobRow, change: Change) -> str | None:
        """Object unless nothing changes."""
        return None if change.to == job.state else f"it is {job.state} already"


class SuccessNeedsAnExit:
    """Success is set last, and only after the runner said that the command ended with 0.

    Stops a service that comes back after a kill and takes "nothing runs any more" for success.
    """

    FROM: ClassVar = _ALL
    TO: ClassVar = frozenset[State]({"Succeeded"})

    def objection(self, job: JobRow, change: Change) -> str | None:
        """Object when nobody knows how it ended."""
        return None if change.exit_known else "nobody knows how its command ended"


class CancelledOnlyAsWished:
    """A started job is only Canceled when its end was wished.

    Stops a shutdown of the hub, which ends jobs the same way, from looking like somebody's wish:
    that is Stopped, and whoever owns the job may start another.
    """

    FROM: ClassVar = frozenset[State]({"Provisioned", "Running"})
    TO: ClassVar = frozenset[State]({"Canceled"})

    def objection(self, job: JobRow, change: Change) -> str | None:
        """Object when nobody wished it."""
        return None if job.wanted == "end" else "nobody cancelled it"


RULES: tuple[Rule, ...] = (
    FinishedStaysFinished(),
    NeverRunsBackwards(),
    BootBeforeStart(),
    NoStartAfterCancel(),
    SuccessNeedsAnExit(),
    CancelledOnlyAsWished(),
)


def objection(job: JobRow, change: Change) -> str | None:
    """Return the first rule's reason against a change, or None when all allow it."""
    for rule in RULES:
        if job.state in rule.FROM and change.to in rule.TO:
            why = rule.objection(job, change)
            if why is not None:
                return f"{type(rule).__name__}: {why}"
    return None


def move(job: JobRow, change: Change) -> None:
    """Change a job's state and reason.

    Raises
    ------
    TransitionRefused
        When a rule objects; nothing is changed.
    """
    why = objection(job, change)
    if why is not None:
        raise TransitionRefused(f"Job {job.id} cannot become {change.to}: {why}.")
    job.state = change.to
    job.reason = change.reason
    if change.boot is not None:
        job.boot = change.boot
