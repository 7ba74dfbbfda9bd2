"""One step of a run: look at its jobs, start what can start, end what has ended.

A step is one transaction, so what it decides and what it submits stand or fall together; a crash
between two steps loses nothing, and a step done twice changes nothing the second time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy.orm import Session

from nablahub.core.errors import NablaError, StorageFull, Unavailable
from nablahub.core.times import now
from nablahub.workflows.actions import ACTIONS
from nablahub.workflows.compiling import Bound, compile_job, model_request, record_name
from nablahub.workflows.graph import Plan, plan
from nablahub.workflows.spec import Spec, restore
from nablahub.workflows.store import RunJobRow, RunRow, jobs_of
from nablahub.workflows.types import ENDED, Output, RunInput
from nablahub.workflows.work import JobView, ModelRequest, Place, Work

#: Why a job or run ended otherwise than well: code, and the worst of the jobs' reasons.
CANCELLED: Final = "cancelled"
TIMEOUT: Final = "timeout"
KEEP_SPECS: Final = 64
#: Jobs that a step starts, or asks to end: others wait for its transaction to be over.
AT_ONCE: Final = 40
GONE: Final = JobView("Error", "lost", "The job's record is gone.")


@dataclass(frozen=True)
class Advanced:
    """What a step came to.

    Parameters
    ----------
    ended
        The run has ended: its volumes can go.
    again
        Seconds until there is more to do: 0 when not all could be started or ended at once, else
        the run's own timeout; None when it has none.
    unread
        Models to be made whose files nobody has looked at yet: the next step is given what
        `Work.read_model` says of each, by the job's name.
    """

    ended: bool
    again: float | None = None
    unread: Mapping[str, tuple[Place, ModelRequest]] = field(default_factory=dict)


class _Reading:
    """What is known of the files of models, and what is not yet."""

    def __init__(self, read: Mapping[str, object]) -> None:
        self._read = read
        self.unread: dict[str, tuple[Place, ModelRequest]] = {}

    def files(self, name: str, place: Place, asked: ModelRequest) -> object | None:
        """Return what was read of them; None: it has to be read."""
        found = self._read.get(name)
        if isinstance(found, NablaError):
            raise found
        if found is None:
            self.unread[name] = place, asked
        return found


class Advancer:
    """Takes runs from one state to the next.

    Parameters
    ----------
    work
        The slices below.
    tell
        Emits the run's event, in the transaction.
    """

    def __init__(
        self, work: Work, tell: Callable[[Session, RunRow, list[RunJobRow], str], None]
    ) -> None:
        self._work = work
        self._tell = tell
        self._specs: dict[str, Spec] = {}

    def step(
        self, session: Session, uuid: str, read: Mapping[str, object] | None = None
    ) -> Advanced:
        """Take the run as far as it can go now.

        Parameters
        ----------
        read : mapping of str to object, or None
            What was read of files of models, or the NablaError that reading them ended with; by
            the name of the job that makes the model.
        """
        run = session.get(RunRow, uuid)
        if run is None or run.state in ENDED:
            return Advanced(ended=True)
        rows = jobs_of(session, [uuid])[uuid]
        before = _picture(run, rows)
        spec = self._spec(run)
        left = self._time_left(run, spec)
        views = self._work.look(session, uuid)
        for row in rows:
            if row.job_id is not None and row.state not in ENDED:
                self._copy(spec, row, views.get(row.job_id, GONE))
        reading = _Reading(read or {})
        more = self._move(session, run, spec, rows, reading)
        if _picture(run, rows) != before:
            self._tell(session, run, rows, "changed")
        ended = run.state in ENDED
        if more and not ended:
            return Advanced(ended, 0.0, reading.unread)
        again = None if ended or left is None or left <= 0 else left
        return Advanced(ended, again, {} if ended else reading.unread)

    def _spec(self, run: RunRow) -> Spec:
        """Return the run's spec, which never changes: read once for all of its steps."""
        known = self._specs.pop(run.uuid, None) or restore(run.spec)
        self._specs[run.uuid] = known  # The newest last, so that the oldest goes first.
        if len(self._specs) > KEEP_SPECS:
            del self._specs[next(iter(self._specs))]
        return known

    def _time_left(self, run: RunRow, spec: Spec) -> float | None:
        if spec.timeout is None or run.cancel_asked:
            return None
        left = (run.created_at + timedelta(seconds=spec.timeout) - now()).total_seconds()
        if left <= 0:
            run.cancel_asked = True
            run.reason = TIMEOUT
            run.message = f"The run took longer than its {spec.timeout} s."
        return math.ceil(left * 1000) / 1000

    def _copy(self, spec: Spec, row: RunJobRow, view: JobView) -> None:
        """Copy what became of a job."""
        row.state, row.reason, row.message = view.state, view.reason, view.message
        row.started_at, row.finished_at = view.started_at, view.finished_at
        if row.action == "notebook@v1" and view.started_at is not None:
            name = record_name(spec.jobs[row.name].arguments["notebook"])
            row.notebook = f"/jobs/{row.job_id}/artifacts/{quote(name)}"
        if view.state in ENDED:
            row.outputs = {name: _output(value) for name, value in view.outputs.items()}

    def _move(
        self, session: Session, run: RunRow, spec: Spec, rows: list[RunJobRow], reading: _Reading
    ) -> bool:
        """Start, skip and end what is due; return whether some of it is left for another step."""
        by_name = {row.name: row for row in rows}
        needs = {row.name: row.needs for row in rows}
        left = AT_ONCE
        while True:
            states = {row.name: row.state for row in rows}
            step = plan(needs, states, cancelled=run.cancel_asked)
            for name, why in (step.skip or {}).items():
                self._skip(by_name[name], why, cancelled=run.cancel_asked)
            # What the service does by itself ends at once, and may let others start.
            due = step.submit[:left]
            left -= len(due)
            done = [self._start(session, run, spec, by_name, name, reading) for name in due]
            if not any(done) or left == 0:
                break
        if run.cancel_asked:
            for row in rows:
                if row.job_id is not None and row.state not in ENDED:
                    left -= self._work.cancel(session, row.job_id)
                    if left <= 0:
                        break
        self._conclude(run, rows, step)
        return left <= 0

    def _start(
        self,
        session: Session,
        run: RunRow,
        spec: Spec,
        rows: dict[str, RunJobRow],
        name: str,
        reading: _Reading,
    ) -> bool:
        """Start a job; return whether it ended at once."""
        row = rows[name]
        place = Place(
            run.uuid, run.team_id, run.project_id, run.created_by,
            frozenset(run.bound.get("groups", ())),
        )  # fmt: skip
        key = f"{run.uuid}/{name}"
        bound = _bound(run, spec, rows)
        if run.started_at is None:
            run.started_at = now()
        try:
            # A savepoint: what a refused job had begun to write must not stay.
            with session.begin_nested():
                if ACTIONS[row.action].runs:
                    row.job_id = self._work.submit(session, place, compile_job(bound, name), key)
                    row.state = "Pending"
                    return False
                asked = model_request(bound, name)
                files = reading.files(name, place, asked)
                if files is None:
                    return False
                ref = self._work.create_model(session, place, asked, files, key)
        except (StorageFull, Unavailable):
            raise  # It may go the next time; nothing of this step is kept.
        except NablaError as error:
            row.job_id = None
            self._end(row, "Error", "refused", str(error))
            return True
        outputs: dict[str, Any] = {"model": {"kind": "model", "ref": ref}}
        for key_, output in spec.jobs[name].outputs.items():
            if output.type == "string":
                outputs[key_] = {"kind": "string", "value": ref}
        row.outputs = outputs
        self._end(row, "Succeeded", "", f"Made {ref}.")
        return True

    def _skip(self, row: RunJobRow, why: str, *, cancelled: bool) -> None:
        self._end(row, "Canceled" if cancelled else "Skipped", CANCELLED if cancelled else "", why)

    def _end(self, row: RunJobRow, state: str, reason: str, message: str) -> None:
        row.state, row.reason, row.message = state, reason, message
        row.finished_at = now()
        if state in ("Succeeded", "Error"):
            row.started_at = row.started_at or row.finished_at

    def _conclude(self, run: RunRow, rows: list[RunJobRow], step: Plan) -> None:
        if step.state is None:
            run.state = "Running" if run.started_at is not None else "Pending"
            return
        run.outputs = {
            f"{row.name}.{name}": value
            for row in rows
            for name, value in row.outputs.items()
            if value["kind"] != "volume"
        }
        run.finished_at = now()
        bad = next((row for row in rows if row.state == step.state), None)
        if step.state == "Canceled" and not run.reason:
            run.reason, run.message = CANCELLED, "The run was cancelled."
        elif step.state != "Succeeded" and not run.reason and bad is not None:
            run.reason = bad.reason
            run.message = f"Job '{bad.name}' {_ended(bad)}"
        if step.state == "Succeeded":
            run.reason, run.message = "", ""
        late = run.reason == TIMEOUT and step.state == "Canceled"
        # Last of all: from here on nothing of this run changes any more.
        run.state = "Failed" if late else step.state


def _ended(row: RunJobRow) -> str:
    word = {
        "Failed": "failed", "Error": "could not be run", "Canceled": "was cancelled",
        "Stopped": "was stopped",
    }  # fmt: skip
    text = word.get(row.state or "", f"ended as {row.state}")
    return f"{text}: {row.message}" if row.message else f"{text}."


def _picture(run: RunRow, rows: list[RunJobRow]) -> Any:
    return (run.state, run.cancel_asked, [(r.name, r.state, r.message) for r in rows])


def _output(value: Any) -> dict[str, Any]:
    return Output.model_validate(value, from_attributes=True).model_dump(exclude_none=True)


def _bound(run: RunRow, spec: Spec, rows: dict[str, RunJobRow]) -> Bound:
    return Bound(
        run=run.uuid,
        spec=spec,
        files=run.files,
        inputs={k: RunInput.model_validate(v) for k, v in run.inputs.items()},
        inline={k: RunInput.model_validate(v) for k, v in run.bound["inline"].items()},
        targets=run.bound["targets"],
        workspace=run.workspace,
        outputs={
            name: {k: Output.model_validate(v) for k, v in row.outputs.items()}
            for name, row in rows.items()
        },
    )
