"""What is done for a job, step by step, until it has ended.

A step may be interrupted by a kill anywhere: each thing made outside has a name that was stored
before (the job's id), and making it twice makes it once.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
from dataclasses import replace
from typing import Any

from sqlalchemy.orm import Session

from nablahub.core.database import after_commit
from nablahub.core.errors import NablaError
from nablahub.core.times import now
from nablahub.jobs import tokens
from nablahub.jobs.beginning import missing, new_tokens
from nablahub.jobs.changing import advance, announce
from nablahub.jobs.collect import collect
from nablahub.jobs.machinery import Machinery
from nablahub.jobs.mounting import mounts
from nablahub.jobs.rules import Change, objection
from nablahub.jobs.runners.contract import (
    RunnerAway,
    TaskName,
    TaskRefused,
    TaskSpec,
    TaskStatus,
)
from nablahub.jobs.store import JobRow
from nablahub.jobs.tasks import instance_of, spec_of
from nablahub.jobs.types import State
from nablahub.jobs.verdicts import UNKEPT, Ending, ending

DISK_FULL = (
    "The disk that holds the hub's state is full, so the job could not begin. "
    "Free some space and submit it again."
)
NOT_ITS_TURN = "Waiting for its turn: another job of several nodes gets its nodes first."
log = logging.getLogger(__name__)

#: A job is stored as running when it has run for so long.
SETTLE_SECONDS = 0.03


class Steps:
    """Brings jobs from submitted to ended."""

    def __init__(self, machinery: Machinery) -> None:
        self._m = machinery

    async def step(self, job_id: str) -> float | None:
        """Do for one job what can be done now."""
        job = self._m.recent.get(job_id)
        if job is None:
            job = await self._m.context.database.read(lambda s: s.get(JobRow, job_id))
        if job is None or job.finished:
            return None
        if job.state == "Pending":
            if job.wanted == "end":
                await self._finish(job, Ending("Canceled", "cancelled", job.wanted_message))
                return None
            provisioned = await self._provision(job)
            if provisioned is None:
                return None
            job = provisioned
        if job.state == "Provisioned" and job.id not in self._m.started:
            if not await self._start(job):
                return None
            self._m.started.add(job.id)
            self._m.changed(job)
            # Most commands that end at once end within this: two stores and two wakes saved.
            return SETTLE_SECONDS
        await self._look(job)
        return None

    async def _provision(self, job: JobRow) -> JobRow | None:
        """Make everything ready and store that it will be started; None: not now, or not at all."""
        instance = instance_of(job)
        if job.spec.get("nodes", 1) > 1 and not self._m.gathering.take(job.id, instance):
            await self._say(job, NOT_ITS_TURN)
            return None
        if not self._m.capacity.take(job.id, job.kind, instance):
            waiting = (
                f"Waiting for {instance.cpus} CPUs and {instance.memory_gib:g} GiB to be free."
            )
            await self._say(job, waiting)
            return None
        self._wake(self._m.capacity.first())  # It may have looked while we were ahead.
        try:
            await self._build_environments(job)
        except NablaError as error:
            await self._finish(job, Ending("Error", "environment", str(error)))
            return None
        try:
            mounting = self._m.mounts.make(job.id, spec_of(job).inputs) if mounts(job) else None
        except NablaError as error:
            await self._finish(job, Ending("Error", "mount", str(error)))
            return None
        if mounting is not None:
            await self._say(job, mounting)
            return None

        change = Change("Provisioned", boot=self._m.ground.boot)
        if objection(job, change) is not None:
            self._read_again(job)
            return None

        given = new_tokens(self._m)
        self._m.tasks.give(job, given)

        def store(session: Session) -> JobRow | None:
            row = advance(session, job, change, message="")
            if row is None:
                return None  # Cancelled meanwhile; that woke us, so the next step sees to it.
            if job.message:  # Else in 30 ms it runs or has ended: nobody need be told before that.
                self._announce(session, row)
            tokens.issue(session, row, given)
            self._remember(session, row)
            return row

        row, _ = await asyncio.gather(
            self._m.context.database.write(store), self._prepare(self._m.tasks.of(job))
        )
        if row is None:
            self._read_again(job)
        return row

    async def _prepare(self, task: TaskSpec) -> None:
        """Use the time until it is stored that the job will be started."""
        # What is wrong shows again when it is started, and is told then.
        with contextlib.suppress(TaskRefused, OSError):
            await self._m.runner.prepare(task)

    async def _build_environments(self, job: JobRow) -> None:
        for name in missing(self._m, spec_of(job)):
            await self._say(job, f"Building the environment {name}, once, for about a minute.")
            await asyncio.to_thread(self._m.layout.environments.ensure, name)

    async def _start(self, job: JobRow) -> bool:
        """Start the task unless it was; False when the job has ended by that."""
        task = self._m.tasks.of(job)
        if job.boot != self._m.ground.boot:
            status = await self._m.runner.look(task)
            if status.phase != "absent":
                return True
            words = "The machine was restarted before it was known whether the job had begun."
            await self._finish(job, Ending("Error", "lost", words))
            return False
        if job.wanted == "end":
            # First the wish, then the look: a start that is under way will find the wish.
            await self._cancel(job, task)
            if (await self._m.runner.look(task)).phase != "absent":
                return True
            await self._finish(job, Ending("Canceled", "cancelled", job.wanted_message))
            return False
        if not self._m.tasks.has_tokens(job):
            given = new_tokens(self._m)
            await self._m.context.database.write(lambda s: tokens.issue(s, job, given))
            self._m.tasks.give(job, given)
        await self._m.mounts.note_room(job)
        try:
            await self._m.runner.start(self._m.tasks.of(job))
        except TaskRefused as error:
            await self._finish(job, Ending("Error", "start", str(error)))
            return False
        except RunnerAway as error:
            await self._say(job, str(error))
            raise  # Tried again later, with more patience each time.
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise  # Tried again later, with more patience each time.
            await self._finish(job, Ending("Error", "start", DISK_FULL))
            return False
        self._m.tasks.started(job)
        return True

    async def _look(self, job: JobRow) -> None:
        """See what became of the task and store it."""
        task = self._m.tasks.of(job)
        status = await self._m.runner.look(task)
        if status.phase == "running":
            if job.wanted == "end":
                await self._cancel(job, task)
            elif job.kind == "serve":
                await self._m.runner.scale(task)
                self._count(job, status.servers)
            await self._store_running(job, status)
            return
        if status.phase == "absent":
            words = "What was kept of it on the machine was removed from outside."
            await self._finish(job, Ending("Error", "lost", words))
            return
        end = ending(job, status)
        ran = status.verdict not in ("start", "mount")
        if ran and mounts(job) and (lost := await self._m.mounts.save(job.id)) is not None:
            if end.state == "Succeeded":
                end = Ending("Failed", "mount", lost)
            else:
                end = replace(end, message=f"{end.message} {lost}".strip())
        outputs: dict[str, Any] = {}
        if end.state == "Succeeded" and job.spec["outputs"]:
            try:
                outputs = await asyncio.to_thread(collect, job, self._m.runner, self._m.committer)
            except NablaError as error:
                end = Ending("Failed", "output", f"{UNKEPT}: {error}")
            except RecursionError:
                end = Ending("Failed", "output", f"{UNKEPT}: its folders are nested too deep.")
            except OSError as error:
                # Without the path, which is the machine's and tells its user nothing.
                state: State = "Error" if error.errno == errno.ENOSPC else "Failed"
                end = Ending(state, "output", f"{UNKEPT}: {error.strerror or 'it is unreadable'}.")
        await self._finish(job, end, status, outputs)

    def _count(self, job: JobRow, servers: int) -> None:
        """Remember how many servers there are, and tell whose they are when that changed."""
        if self._m.servers.get(job.id) != servers:
            self._m.servers[job.id] = servers
            if job.owner_kind is not None and job.owner_id is not None:
                self._m.context.reconciler.wake_now(job.owner_kind, job.owner_id)

    async def _cancel(self, job: JobRow, task: TaskSpec) -> None:
        await self._m.runner.cancel(
            task.name, grace_seconds=task.grace_seconds, message=job.wanted_message
        )

    async def _store_running(self, job: JobRow, status: TaskStatus) -> None:
        if status.started_at is None and job.state == "Provisioned":
            await self._say(job, status.message)
            return
        known = (job.state, job.ready, job.address, job.message)
        if known == ("Running", status.ready, status.address, status.message):
            return

        change = Change("Running")
        fields = {
            "started_at": status.started_at, "ready": status.ready, "address": status.address,
            "message": status.message,
        }  # fmt: skip
        if objection(job, change) is None and await self._store(job, change, fields) is None:
            return
        self._m.started.discard(job.id)
        self._wake(*self._m.gathering.done(job.id))

    async def _finish(
        self,
        job: JobRow,
        end: Ending,
        status: TaskStatus | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Store the end, once, and let go of what the job held."""

        change = Change(end.state, end.reason, exit_known=status is not None)
        fields: dict[str, Any] = {
            "message": end.message, "outputs": outputs or {}, "ready": False, "finished_at": now()
        }  # fmt: skip
        if status is not None:
            fields |= {
                "exit_code": status.exit_code, "started_at": status.started_at,
                "finished_at": status.finished_at,
            }  # fmt: skip
        if objection(job, change) is None and await self._store(job, change, fields) is None:
            return
        self._m.started.discard(job.id)
        self._m.recent.pop(job.id, None)
        self._m.tasks.drop(job)
        self._m.servers.pop(job.id, None)
        self._wake(self._m.capacity.release(job.id), *self._m.gathering.done(job.id))
        await self._m.runner.tidy(TaskName(job.id))
        if mounts(job):
            await self._m.mounts.release(job.id)

    async def _say(self, job: JobRow, message: str) -> None:
        """Store a sentence about why it does not run yet."""
        if job.message == message:
            return

        await self._store(job, None, {"message": message})

    async def _store(
        self, job: JobRow, change: Change | None, fields: dict[str, Any]
    ) -> JobRow | None:
        """Store and tell a change; None when somebody wrote the job since it was read."""

        def store(session: Session) -> JobRow | None:
            row = advance(session, job, change, **fields)
            if row is not None:
                self._announce(session, row)
                self._remember(session, row)
            return row

        row = await self._m.context.database.write(store)
        if row is None:
            self._read_again(job)
        return row

    def _remember(self, session: Session, row: JobRow) -> None:
        # In the order of the commits: who writes it next drops it after this, not before.
        after_commit(session, lambda: self._m.recent.update({row.id: row}))

    def _read_again(self, job: JobRow) -> None:
        self._m.recent.pop(job.id, None)
        self._m.context.reconciler.wake_now("job", job.id)

    def _wake(self, *jobs: str | None) -> None:
        """Look at jobs that waited for what has become free."""
        for job_id in filter(None, jobs):
            self._m.context.reconciler.wake_now("job", job_id)

    def _announce(self, session: Session, row: JobRow) -> None:
        announce(self._m.context, session, row, self._m.changed)
