"""Rules of jobs: submitting, cancelling, looking at them; what is done for them is in steps."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncGenerator, Coroutine
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.database import after_commit, count_by
from nablahub.core.events import Event
from nablahub.core.ids import new_id
from nablahub.core.instances import Offer
from nablahub.core.paging import page
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.datasets.service import DatasetService
from nablahub.jobs import beginning, tokens
from nablahub.jobs.capacity import Capacity
from nablahub.jobs.changing import announce
from nablahub.jobs.data import Materialiser
from nablahub.jobs.errors import JobOwned, JobRuns, NoSuchJob, SandboxUnavailable
from nablahub.jobs.gathering import Gathering
from nablahub.jobs.grounds import choose
from nablahub.jobs.layout import LocalLayout
from nablahub.jobs.live_keys import LiveKeys
from nablahub.jobs.machinery import Machinery
from nablahub.jobs.pod_mounts import mounts_of_jobs
from nablahub.jobs.readers import of_jobs
from nablahub.jobs.runners.contract import Runner, TaskName, TaskSpec
from nablahub.jobs.steps import Steps
from nablahub.jobs.store import (
    JobRow,
    by_key,
    forget,
    of_owner,
    of_project,
    of_teams,
    unfinished,
)
from nablahub.jobs.submission import Submission
from nablahub.jobs.tasks import GROUPS, INSTANCE, Tasks, instance_of
from nablahub.jobs.types import Job, JobQuery, JobSpec, Owner, Scale
from nablahub.jobs.waiters import Waiters, interleaved
from nablahub.jobs.workspaces.service import Workspaces
from nablahub.models.service import ModelService
from nablahub.projects.service import ProjectService, held
from nablahub.storage.service import StorageService

CANCELLED = "It was cancelled."
#: Bytes of a log that are read at a time.
LOG_CHUNK = 256 * 1024
#: Kind of what is left of a deleted job.
FORGOTTEN = "job-forgotten"


class JobService:
    """Jobs of teams."""

    token_prefix = tokens.FAMILY

    def __init__(self, context: Context) -> None:
        self._context = context
        settings = context.settings
        datasets = context.get(DatasetService)
        sources: dict[str, Materialiser] = {
            "dataset": datasets, "model": context.get(ModelService), "public": datasets.public,
        }  # fmt: skip
        datasets.building.keeping.readers.append(partial(of_jobs, sources))
        self.workspaces = Workspaces(context)
        self.layout = LocalLayout(settings, sources, self.workspaces)
        self.ground = choose(settings, self.layout)
        self.machine = self.ground.machine
        self.capacity = Capacity(self.machine)
        self._gathering = Gathering()
        self.runner: Runner = self.ground.runner
        self.live_keys = LiveKeys(settings.state.keys)
        storage = context.get(StorageService)
        self._submission = Submission(self.ground, context.instances, sources, datasets, storage)
        wake = functools.partial(context.reconciler.wake_now, "job", news=True)
        self.mounts = mounts_of_jobs(settings, storage, self.ground, self.layout, wake)
        self._waiters = Waiters({})
        self._beside: set[asyncio.Task[None]] = set()
        self._tasks = Tasks(settings, lambda team: storage.usage_of(team).level == "over")
        machinery = self._machinery = Machinery(
            context=context, runner=self.runner, layout=self.layout, committer=datasets,
            capacity=self.capacity, ground=self.ground, changed=self._waiters.tell,
            tasks=self._tasks, gathering=self._gathering, mounts=self.mounts,
        )  # fmt: skip
        self._recent = machinery.recent
        #: Of a server's job → how many of its servers take requests, as they were seen last.
        self.servers = machinery.servers
        context.reconciler.register("job", Steps(machinery).step, stale=self._drop)
        context.reconciler.register(FORGOTTEN, self._forget_task)
        self.runner.listen(wake)

    async def stop(self) -> None:
        """Stop listening; jobs go on."""
        self.live_keys.close()
        await asyncio.gather(*self._beside)
        await self.mounts.close()
        await self.runner.close()

    def resume(self, session: Session) -> None:
        """Take up every job that has not ended, in the order they came; clean up after the rest."""
        tokens.sweep(session)
        jobs = unfinished(session)
        after_commit(session, lambda: self._later(self._sweep()))
        for job in jobs:
            if job.state in ("Provisioned", "Running"):
                self.capacity.hold(job.id, job.kind, instance_of(job))
            if job.state == "Provisioned" and job.spec.get("nodes", 1) > 1:
                self._gathering.hold(job.id, instance_of(job))
            self._context.reconciler.wake(session, "job", job.id)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something slow beside; :meth:`stop` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def _sweep(self) -> None:
        """Clean up after jobs that ended or were deleted when a kill left no time for it."""
        read = self._context.database.read
        # Rows after tasks: what is begun meanwhile has a row before it has a task.
        found = await self.runner.names()
        known = await read(lambda s: set(s.scalars(select(JobRow.id))))
        for name in found:
            if name not in known:
                await self.runner.forget(name)
        found = await self.runner.untidy()
        running = await read(lambda s: {job.id for job in unfinished(s)})
        for name in found:
            if name not in running:
                await self.runner.tidy(name)
        await self.mounts.sweep(running)

    async def authenticate(self, token: str) -> Principal | None:
        """Return which job a token stands for; None when it is unknown or the job has ended."""
        return await self._context.database.read(lambda s: tokens.principal(s, token))

    def submit(
        self,
        session: Session,
        who: Principal,
        spec: JobSpec,
        *,
        owner: Owner | None = None,
        name_key: str | None = None,
    ) -> JobRow:
        """Store a job; it is started once the session's transaction is committed.

        Parameters
        ----------
        who : Principal
            In whose name it runs; the project must be theirs.
        spec : JobSpec
            What to run.
        owner : Owner or None
            What it is part of: the reconciler wakes that at each change.
        name_key : str or None
            Makes this idempotent: submitting under a key again returns the job there is.

        Raises
        ------
        NablaError
            Everything that is wrong with it, each fault with its field.
        """
        if name_key is not None and (known := by_key(session, name_key)) is not None:
            return known
        project = self._context.get(ProjectService).row(session, who, spec.project_id)
        if self.ground.missing is not None:
            raise SandboxUnavailable(self.ground.missing)
        owned = owner is not None
        pinned, instance = self._submission.pin(session, who, project.team_id, spec, owned=owned)
        workspace = None
        if spec.workspace is not None:
            workspace = self.workspaces.use(session, project.team_id, spec.workspace)
        stored = pinned.model_dump(mode="json")
        stored |= {INSTANCE: instance.save(), GROUPS: sorted(who.groups)}
        at = now()
        row = JobRow(
            id=new_id("job"), name_key=name_key, team_id=project.team_id, project_id=project.id,
            owner_kind=owner.kind if owner else None, owner_id=owner.id if owner else None,
            name=spec.name, kind=spec.kind, spec=stored, wanted="run",
            wanted_message="", state="Pending", reason=None, message="", boot=None,
            exit_code=None, ready=False, address=None, outputs={}, created_by=who.name,
            created_at=at, updated_at=at, started_at=None, finished_at=None, revision=1,
            workspace_id=workspace,
        )  # fmt: skip
        beginning.store(self._machinery, session, row, pinned, instance)
        after_commit(session, lambda: self._recent.update({row.id: row}))
        announce(self._context, session, row, self._waiters.tell)
        self._context.reconciler.wake(session, "job", row.id)
        return row

    def cancel(self, session: Session, row: JobRow, message: str = CANCELLED) -> JobRow:
        """Wish that a job ends; nothing happens when it has ended or somebody wished it before."""
        if not row.finished and row.wanted != "end":
            row.wanted = "end"
            row.wanted_message = message
            after_commit(session, lambda: self._drop(row.id))
            row.revision += 1
            row.updated_at = now()
            announce(self._context, session, row, self._waiters.tell)
            self._context.reconciler.wake(session, "job", row.id)
        return row

    def scale(self, session: Session, row: JobRow, scale: Scale) -> None:
        """Wish that a server is so many from now on; nothing happens when it is, or has ended."""
        wanted = scale.model_dump(mode="json")
        if row.finished or row.spec.get("scale", Scale().model_dump(mode="json")) == wanted:
            return
        row.spec = {**row.spec, "scale": wanted}
        row.revision += 1
        row.updated_at = now()
        after_commit(session, lambda: self._drop(row.id))
        self._context.reconciler.wake(session, "job", row.id)

    def forget(self, session: Session, row: JobRow) -> None:
        """Delete a job that has ended, with its log and artifacts.

        Raises
        ------
        JobRuns
            It has not ended.
        """
        if not row.finished:
            raise JobRuns(row.id)
        event = Event("job", row.id, "deleted", row.team_id, row.project_id, {"name": row.name})
        self._context.events.emit(session, event)
        forget(session, row)
        self._context.reconciler.wake(session, FORGOTTEN, row.id)

    async def _forget_task(self, job_id: str) -> None:
        await self.runner.forget(TaskName(job_id))

    def delete(self, session: Session, row: JobRow) -> None:
        """Delete a job of nobody's that has ended; JobOwned when it is part of something."""
        if row.owner_kind is not None:
            raise JobOwned(row.id, row.owner_kind)
        self.forget(session, row)

    def forget_of_owner(self, session: Session, kind: str, owner_id: str) -> None:
        """Delete all jobs of an owner, which have ended; JobRuns when one has not."""
        for row in of_owner(session, kind, owner_id):
            self.forget(session, row)

    def _drop(self, job_id: str) -> None:
        self._recent.pop(job_id, None)

    def find(self, session: Session, job_id: str) -> JobRow | None:
        """Return a job's row whoever's it is, for the slice that owns it."""
        return session.get(JobRow, job_id)

    def row(self, session: Session, who: Principal, job_id: str) -> JobRow:
        """Return a job's row; NoSuchJob unless it is there and the caller's."""
        row = session.get(JobRow, job_id)
        if row is None or row.team_id not in who.team_ids:
            raise NoSuchJob(job_id)
        who.check_project(row.project_id, f"Job {job_id}")
        return row

    async def look_up(self, who: Principal, job_id: str) -> JobRow:
        """Like :meth:`row`, without a look into the database when this life wrote it last."""
        row = self._recent.get(job_id)
        if row is None or row.team_id not in who.team_ids:
            return await self._context.database.read(lambda s: self.row(s, who, job_id))
        who.check_project(row.project_id, f"Job {job_id}")
        return row

    def of_owner(self, session: Session, kind: str, owner_id: str) -> list[JobRow]:
        """Return the jobs of an owner, the oldest first."""
        return of_owner(session, kind, owner_id)

    def list(
        self, session: Session, who: Principal, asked: JobQuery
    ) -> tuple[list[Job], str | None]:
        """Return a page of the caller's jobs."""
        project = asked.project or who.project_id
        if project is not None:
            # They are all of its team: asked for both, SQLite would look through all of the team.
            query = of_project(self._context.get(ProjectService).row(session, who, project).id)
        else:
            query = of_teams(who.team_ids)
        if asked.state is not None:
            query = query.where(JobRow.state == asked.state)
        columns = {"created_at": JobRow.created_at, "name": JobRow.name, "state": JobRow.state}
        rows, following = page(session, query, asked, columns=columns, key=JobRow.id)
        return [as_wire(row) for row in rows], following

    def count_states(self, session: Session) -> dict[str, dict[str, int]]:
        """Return how many jobs are in which state."""
        return {"jobs": count_by(session, JobRow.state)}

    def project_holds(self, session: Session, project_id: str) -> str | None:
        """Return what of jobs a project holds: the record of them, too."""
        return held(session, JobRow.project_id, project_id, "job")

    def offer(self) -> Offer:
        """Return the instance types there are now, and what is wrong with their file."""
        return self._context.instances.now()

    def task(self, row: JobRow) -> TaskSpec:
        """Return the runner's task of a job, to look at and to follow."""
        return self._tasks.of(row)

    def changes(self, job_id: str) -> AbstractContextManager[asyncio.Queue[JobRow]]:
        """Give a queue of a job's changes; who reads the job after that misses none."""
        return self._waiters.of(job_id)

    async def follow(
        self, row: JobRow, changes: asyncio.Queue[JobRow], offset: int
    ) -> AsyncGenerator[bytes | str | Job]:
        """Yield what a job writes from a byte on, what it waits for, and at last the job, ended."""
        task, said = self.task(row), ""
        while not row.finished:
            if row.message != said:
                said = row.message
                yield said
            if row.state == "Running" or row.id in self._machinery.started:
                log = self.runner.follow(task, offset)
                async with contextlib.aclosing(interleaved(log, changes)) as parts:
                    async for part in parts:
                        if isinstance(part, bytes):
                            offset += len(part)
                            yield part
                            continue
                        row = part
                        if row.message != said and not row.finished:
                            said = row.message
                            yield said
                if row.finished:
                    break
            # Provisioned comes twice: when it is stored, and when the task has begun.
            row = await changes.get()
        while part := await self.runner.logs(task.name, offset, LOG_CHUNK):
            offset += len(part)
            yield part
        yield as_wire(row)


def as_wire(row: JobRow) -> Job:
    """Return the row as clients see it; variables stay out, since they hold secrets."""
    owner = None
    if row.owner_kind is not None and row.owner_id is not None:
        owner = Owner(kind=row.owner_kind, id=row.owner_id)
    fields = {name: getattr(row, name) for name in Job.model_fields if hasattr(row, name)}
    spec = {name: row.spec[name] for name in ("command", "environment", "instance_type", "inputs")}
    spec["nodes"] = row.spec.get("nodes", 1)
    spec["workspace"] = row.spec.get("workspace")
    return Job.model_validate({**fields, **spec, "owner": owner})
