"""Rules of mounts: which versions a user's servers show, and that those stay in the cache.

A mount is what a user wants to see. Its row comes first, and keeps the tree of its version from
being taken away; then the tree is made. The link by which the server shows it is made in the server
itself (:mod:`nablahub.mounts.view`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import Invalid, NablaError
from nablahub.core.identity import PUBLIC
from nablahub.core.ids import new_id
from nablahub.core.paging import page
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.datasets.keeping import Reader
from nablahub.datasets.service import LATEST, DatasetService
from nablahub.datasets.store import DatasetRow, VersionRow
from nablahub.jobs.service import JobService
from nablahub.jobs.types import Input, JobSpec, Owner
from nablahub.mounts.buckets import BucketMounts
from nablahub.mounts.errors import (
    BucketTaken,
    MountTaken,
    NoCache,
    NoProject,
    NoSuchMount,
    NotAUser,
    NotWritable,
    TooManyMounts,
)
from nablahub.mounts.store import MountRow, alive, count, named, of_user
from nablahub.mounts.types import LONGEST_NAME, NAME, S3, Mount, MountCreate, MountQuery
from nablahub.projects.service import ProjectService
from nablahub.projects.types import ProjectQuery

MOST: Final = 100
DATASETS: Final = "/datasets"
_KIND: Final = "mount"
_NAME: Final = re.compile(NAME)


class MountService:
    """Mounts of users' servers."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._datasets = context.get(DatasetService)
        self._jobs = context.get(JobService)
        self._datasets.building.keeping.readers.append(_readers)
        self._datasets.guards.append(_needing)
        self._datasets.version_guards.append(_needing_version)
        self.buckets = BucketMounts(context)
        context.reconciler.register(_KIND, self._step)

    async def stop(self) -> None:
        """Stop what is being done; what is mounted stays."""
        await self.buckets.close()

    def resume(self, session: Session) -> None:
        """Take up what was left unfinished."""
        pending = select(MountRow).where(MountRow.state == "Pending", MountRow.bucket.is_(None))
        for row in session.scalars(pending):
            self._context.reconciler.wake(session, _KIND, row.id)
        self.buckets.resume(session)

    def mount(self, session: Session, who: Principal, asked: MountCreate) -> Mount:
        """Let a server of the caller's show a version or a bucket, and have it made.

        Mounting again what is mounted says that it is still used, and makes a tree again that is
        gone. A name that shows another version of the same dataset shows this one from now on.

        Raises
        ------
        NoSuchDataset, NoSuchVersion
            What can be mounted is what can be an input of a job.
        MountTaken, BucketTaken, TooManyMounts, NoCache, NoProject, NoBucketsOnCluster
        """
        if who.kind != "user":
            raise NotAUser
        if asked.dataset is None:
            return self._mount_bucket(session, who, asked)
        version = self._datasets.resolve(session, who, asked.dataset)
        dataset = session.get_one(DatasetRow, version.dataset_id)
        name = asked.name or _name(dataset, asked.dataset)
        row = named(session, who.name, asked.server, name)
        if row is None:
            row = self._new(session, who, asked.server, name)
        elif row.bucket is not None:
            raise BucketTaken(name, row.source)
        elif row.version_id.partition(":")[0] != dataset.id and not asked.replace:
            raise MountTaken(name, row.version_id)
        if row.version_id != version.id:
            row.version_id, row.job_id = version.id, None
        foreign = dataset.team_id not in who.team_ids
        row.place = (self._datasets.public if foreign else self._datasets).place(
            session, version.id
        )
        row.used_at = now()
        self._provide(session, who, row, dataset, asked)
        session.flush()
        return self.as_wire(session, row)

    def _mount_bucket(self, session: Session, who: Principal, asked: MountCreate) -> Mount:
        bucket, source = self.buckets.resolve(session, who, asked)
        name = asked.name or _bucket_name(source)
        row = named(session, who.name, asked.server, name)
        if row is not None and row.bucket is None:
            raise BucketTaken(name, row.version_id)
        if row is None:
            row = self._new(session, who, asked.server, name)
        row.used_at = now()
        self.buckets.want(session, row, bucket, source, asked)
        session.flush()
        return self.as_wire(session, row)

    def _new(self, session: Session, who: Principal, server: str, name: str) -> MountRow:
        if count(session, who.name, server) >= MOST:
            raise TooManyMounts(MOST)
        at = now()
        row = MountRow(
            id=new_id("mount"), user_name=who.name, server=server, name=name, version_id="",
            place="", state="Pending", message="", job_id=None, bucket=None, source="",
            read_only=True, todo="", unsent="", created_at=at, used_at=at,
        )  # fmt: skip
        session.add(row)
        return row

    def _provide(
        self,
        session: Session,
        who: Principal,
        row: MountRow,
        dataset: DatasetRow,
        asked: MountCreate,
    ) -> None:
        """Have a tree made where the server reads it."""
        settings = self._context.settings
        claim = settings.runner == "kubernetes" and asked.cache != "folder"
        if claim and settings.kubernetes.cache_claim is None:
            raise NoCache
        if claim and not asked.fill:
            row.state, row.message = "Ready", ""
            return
        row.state, row.message = "Pending", ""
        if claim and row.job_id is None:
            row.job_id = self._fetch(session, who, row, dataset)
        self._context.reconciler.wake(session, _KIND, row.id)

    def _fetch(self, session: Session, who: Principal, row: MountRow, dataset: DatasetRow) -> str:
        """Submit a job that does nothing: a pod brings what it reads into the claim."""
        public = _is_public(row)
        own = None if public else dataset.project_id
        project = own or self._any_project(session, who, None if public else dataset.team_id)
        types = self._context.instances.types.values()
        smallest = min(types, key=lambda kind: (kind.gpus, kind.memory_gib, kind.cpus))
        spec = JobSpec(
            project_id=project, name=f"mount {dataset.name}"[:255], command=["true"],
            instance_type=smallest.name,
            inputs=[
                Input(name="data", kind="public" if public else "dataset", ref=row.version_id)
            ],
        )  # fmt: skip
        return self._jobs.submit(session, who, spec, owner=Owner(kind=_KIND, id=row.id)).id

    def _any_project(self, session: Session, who: Principal, team_id: str | None) -> str:
        projects = self._context.get(ProjectService)
        found, _ = projects.list(session, who, ProjectQuery(limit=500))
        for project in found:
            if team_id in (None, project.team_id):
                return project.id
        raise NoProject

    async def _step(self, mount_id: str) -> None:
        """Make the tree of a mount, or see what became of the job that brings it."""
        row = await self._context.database.read(lambda s: s.get(MountRow, mount_id))
        if row is None or row.state != "Pending":
            return
        if row.job_id is not None:
            await self._context.database.write(partial(self._look_at_job, mount_id))
            return
        failed = ""
        source = self._datasets.public if _is_public(row) else self._datasets
        try:
            await asyncio.to_thread(source.materialise, row.version_id)
        except NablaError as error:
            failed = str(error)

        def end(session: Session) -> None:
            now_there = session.get(MountRow, mount_id)
            if now_there is not None and now_there.version_id == row.version_id:
                _end(now_there, failed)

        await self._context.database.write(end)

    def _look_at_job(self, mount_id: str, session: Session) -> None:
        row = session.get(MountRow, mount_id)
        if row is None or row.state != "Pending" or row.job_id is None:
            return
        job = self._jobs.find(session, row.job_id)
        if job is not None and not job.finished:
            return
        good = job is not None and job.state == "Succeeded"
        _end(row, "" if good else (job.message if job else "The job that fetched it was deleted."))
        row.job_id = None
        if job is not None:
            self._jobs.forget(session, job)

    def row(self, session: Session, who: Principal, mount_id: str) -> MountRow:
        """Return one of the caller's mounts; NoSuchMount when they have none such."""
        row = session.get(MountRow, mount_id)
        if row is None or row.user_name != who.name or who.kind != "user":
            raise NoSuchMount(mount_id)
        return row

    def list(
        self, session: Session, who: Principal, asked: MountQuery
    ) -> tuple[list[Mount], str | None]:
        """Return a page of the caller's mounts."""
        columns = {"created_at": MountRow.created_at, "name": MountRow.name}
        query = of_user(who.name if who.kind == "user" else "", asked.server)
        rows, following = page(session, query, asked, columns=columns, key=MountRow.id)
        return [self.as_wire(session, row) for row in rows], following

    def send(self, session: Session, row: MountRow) -> None:
        """Have what was changed in a mount written to its bucket."""
        if row.bucket is None or row.read_only:
            raise NotWritable(row.name)
        self.buckets.send(session, row)

    def unmount(self, session: Session, row: MountRow, *, discard: bool = False) -> None:
        """Show it no more; a bucket once what was written is in it, unless that is discarded."""
        if row.bucket is not None:
            self.buckets.unmount(session, row, discard=discard)
            return
        job = self._jobs.find(session, row.job_id) if row.job_id else None
        if job is not None:
            self._jobs.cancel(session, job, "It is not to be mounted any more.")
        session.delete(row)

    def as_wire(self, session: Session, row: MountRow) -> Mount:
        """Return the row as clients see it."""
        fields = {name: getattr(row, name) for name in Mount.model_fields if hasattr(row, name)}
        fields |= {"path": f"{DATASETS}/{row.name}", "version": row.version_id}
        if row.bucket is not None:
            none = {"dataset_id": "", "dataset_name": "", "files": 0, "bytes": 0}
            return Mount.model_validate({**fields, **none})
        fields["source"] = row.version_id
        version = session.get(VersionRow, row.version_id)
        if version is None:  # Nothing was heard of the server when the dataset was deleted.
            gone = row.version_id.partition(":")[0]
            more = {"dataset_id": gone, "dataset_name": gone, "files": 0, "bytes": 0}
            why = {"state": "Failed", "message": "The dataset was deleted."}
            return Mount.model_validate({**fields, **more, **why})
        dataset = session.get_one(DatasetRow, version.dataset_id)
        more = {"dataset_id": dataset.id, "dataset_name": dataset.name, "files": version.files}
        if _is_public(row) and not dataset.public:
            fields |= {"state": "Failed", "message": "The dataset is not public any more."}
        return Mount.model_validate({**fields, **more, "bytes": version.size})


def _end(row: MountRow, failed: str) -> None:
    row.state, row.message = ("Failed" if failed else "Ready"), failed


def _bucket_name(source: str) -> str:
    name = source.removeprefix(S3).rpartition("/")[2]
    if not _NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise Invalid(f"'{name}' cannot be a name in {DATASETS}.", hint="Say another one.")
    return name


def _is_public(row: MountRow) -> bool:
    """Whether it shows another team's dataset, which may be withdrawn or deleted at any time."""
    return row.place.startswith(f"{PUBLIC}/")


def _name(dataset: DatasetRow, ref: str) -> str:
    version = ref.partition(":")[2]
    return f"{dataset.name}@{version}" if version not in ("", LATEST) else dataset.name


def _readers(session: Session) -> Iterator[Reader]:
    for row in session.scalars(alive()):
        yield Reader(row.place, f"{row.whose} ({DATASETS}/{row.name})")


def _needing(session: Session, dataset_id: str) -> list[str]:
    versions = alive().where(MountRow.version_id.startswith(f"{dataset_id}:", autoescape=True))
    return _holders(session.scalars(versions))


def _needing_version(session: Session, version_id: str) -> list[str]:
    rows = session.scalars(alive().where(MountRow.version_id == version_id))
    return _holders(rows)


def _holders(rows: Iterable[MountRow]) -> list[str]:
    return [row.whose for row in rows if not _is_public(row)]
