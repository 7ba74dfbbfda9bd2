"""Rules of datasets: names, references, versions, who depends on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import Fault, Invalid
from nablahub.core.events import Event
from nablahub.core.ids import new_id
from nablahub.core.paging import PageQuery, page
from nablahub.core.permissions import Principal, teams_of
from nablahub.core.times import now
from nablahub.datasets import tags
from nablahub.datasets.building import Building
from nablahub.datasets.catalog.reading import LiveCatalog
from nablahub.datasets.errors import InUse, NameTaken, NoSuchDataset, NoSuchVersion
from nablahub.datasets.layout import cache_name
from nablahub.datasets.places import Places
from nablahub.datasets.public import PublicTrees
from nablahub.datasets.shapes import summary, version_wire
from nablahub.datasets.store import (
    ChangeRow,
    DatasetRow,
    GarbageRow,
    InputRow,
    LinkRow,
    PackRow,
    TagRow,
    UploadRow,
    VersionRow,
    by_name,
    in_team,
    of_teams,
    versions_of,
)
from nablahub.datasets.types import (
    Dataset,
    DatasetCreate,
    DatasetPatch,
    DatasetQuery,
    DatasetVersion,
)
from nablahub.datasets.uploads import Origin, drop_unlinked
from nablahub.projects.service import ProjectService, held
from nablahub.storage.service import StorageService
from nablahub.teams.service import TeamService

LATEST: Final = "latest"
#: Tells what of another slice depends on a dataset, such as ``["model digits"]``.
Guard = Callable[[Session, str], list[str]]


class DatasetService(Places):
    """Datasets of teams."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.guards: list[Guard] = []
        #: The same of one version of a dataset.
        self.version_guards: list[Guard] = []
        self.building = Building(context, self)
        self.public = PublicTrees(context, self)
        self.catalog = LiveCatalog(context.settings.dataset_catalog)

    async def start(self) -> None:
        """Look after garbage; what the building tells is told on this loop."""
        self.building.start(asyncio.get_running_loop())

    async def lead(self) -> None:
        """Clean up after a process that died, where no other one may be writing."""
        if not self._context.database.shared:
            self.building.sweeping.at_start()

    def resume(self, session: Session) -> None:
        """Take up what was left unfinished."""
        self.building.resume(session)
        self.public.resume(session)

    # What jobs need; both block and belong into a thread.

    def materialise(self, version_id: str) -> Path:
        """Return the read-only tree of a version, making it when it is not there.

        The tree is seen whole or not at all, is shared by all readers and never changes.

        Raises
        ------
        NoSuchVersion, StorageFull
        """
        return self.building.materialise(version_id)

    def cached_at(self, version_id: str) -> str:
        """Return where a version's tree lies in a cache, ``<team>/<name>``; NoSuchVersion."""
        return self.building.read(lambda s: self.place(s, version_id))

    def place(self, session: Session, version_id: str) -> str:
        """Return the same within a transaction."""
        version = session.get(VersionRow, version_id)
        if version is None:
            raise NoSuchVersion(version_id)
        dataset = session.get_one(DatasetRow, version.dataset_id)
        return f"{dataset.team_id}/{cache_name(dataset.id, version.version)}"

    def commit_tree(
        self,
        dataset_id: str,
        tree: Path,
        *,
        key: str,
        author: str,
        source: str,
        message: str = "",
        inputs: Sequence[str] = (),
    ) -> str:
        """Commit a folder as a new version of a dataset and return the version's id.

        Parameters
        ----------
        dataset_id : str
            Which dataset.
        tree : pathlib.Path
            The folder, in which nobody writes any more.
        key : str
            Makes this idempotent: the same key always gives the same version, also after a crash
            in the middle.
        author, source, message : str
            What is shown of where it came from.
        inputs : sequence of str
            Ids of the versions of datasets that it was made from.

        Raises
        ------
        BadPath, DatasetQuota, StorageFull, NoSuchDataset
            Nothing is left of the attempt then.
        """
        return self.building.committing.commit_tree(
            dataset_id, tree, Origin(author, source, message, key, tuple(inputs))
        )

    # Datasets.

    def create(self, session: Session, who: Principal, asked: DatasetCreate) -> Dataset:
        """Make a dataset; NameTaken when the team has one of that name."""
        if asked.project is not None:
            project = self._context.get(ProjectService).row(session, who, asked.project)
            team_id = project.team_id
            if asked.team is not None:
                self._check_same_team(session, who, asked.team, team_id)
        else:
            team_id = self._context.get(TeamService).pick(session, who, asked.team)
        provider = self._provider(session, who, asked.storage_provider, team_id)
        row = self._make(session, team_id, asked.project or who.project_id, asked.name, who.name)
        row.provider_id = provider
        row.description = asked.description
        return self.as_wire(session, row)

    def _check_same_team(self, session: Session, who: Principal, team: str, team_id: str) -> None:
        if self._context.get(TeamService).pick(session, who, team) != team_id:
            raise Invalid(
                "The project belongs to another team than the one given.",
                errors=[Fault("Not the project's team.", "/team", hint="Leave it out.")],
            )

    def _provider(
        self, session: Session, who: Principal, ref: str | None, team_id: str
    ) -> str | None:
        if ref is None:
            return None
        row = self._context.get(StorageService).row(session, who, ref)
        if row.team_id != team_id:
            raise Invalid(
                "A dataset and its storage provider belong to the same team.",
                errors=[Fault("It is another team's.", "/storage_provider")],
            )
        return row.id

    def _make(
        self, session: Session, team_id: str, project_id: str | None, name: str, author: str
    ) -> DatasetRow:
        self._check_free(session, team_id, name)
        at = now()
        row = DatasetRow(
            id=new_id("dataset"), team_id=team_id, project_id=project_id, provider_id=None,
            name=name, description="", latest=None, created_by=author, created_at=at, updated_at=at,
            revision=1, public=False,
        )  # fmt: skip
        session.add(row)
        session.flush()
        self.tell(session, row, "created")
        return row

    def get_or_create(
        self, session: Session, team_id: str, project_id: str | None, name: str, author: str
    ) -> DatasetRow:
        """Return the team's dataset of that id or name, making one of that name if need be."""
        row = self._find(session, frozenset({team_id}), name)
        return row or self._make(session, team_id, project_id, name, author)

    def row(self, session: Session, who: Principal | str, ref: str) -> DatasetRow:
        """Return the dataset meant by an id or a name.

        Parameters
        ----------
        who : Principal or str
            Who asks, or the id of a team on whose behalf the hub itself asks.

        Raises
        ------
        NoSuchDataset
            When they have none such.
        """
        row = self._find(session, teams_of(who), ref)
        if row is None:
            raise NoSuchDataset(ref)
        if isinstance(who, Principal):
            who.check_project(row.project_id, f"Dataset {ref}")
        return row

    def readable(self, session: Session, who: Principal | str, ref: str) -> DatasetRow:
        """Return a dataset that the caller may read: one of theirs, or a public one.

        A public one of another team is meant by its id or ``<team>/<name>``; raises as
        :meth:`row`.
        """
        teams = teams_of(who)
        team, slash, name = ref.partition("/")
        row = in_team(session, team, name, teams) if slash else session.get(DatasetRow, ref)
        if row is not None and row.public and row.team_id not in teams:
            return row
        if row is not None and slash:
            ref = row.id
        return self.row(session, who, ref)

    def _find(self, session: Session, teams: frozenset[str], ref: str) -> DatasetRow | None:
        row = session.get(DatasetRow, ref)
        if row is not None and row.team_id in teams:
            return row
        found = by_name(session, teams, ref)
        if len(found) > 1:
            ids = ", ".join(sorted(r.id for r in found))
            raise Invalid(
                f"Several of your teams have a dataset called '{ref}'.",
                hint=f"Use the id of the one you mean: {ids}.",
            )
        return found[0] if found else None

    def list(
        self, session: Session, who: Principal, asked: DatasetQuery
    ) -> tuple[list[Dataset], str | None]:
        """Return a page of the caller's datasets."""
        query = of_teams(who.team_ids)
        if who.project_id is not None:
            query = query.where(
                (DatasetRow.project_id == who.project_id) | (DatasetRow.project_id.is_(None))
            )
        if asked.project is not None:
            self._context.get(ProjectService).row(session, who, asked.project)
            query = query.where(DatasetRow.project_id == asked.project)
        if asked.name is not None:
            query = query.where(DatasetRow.name == asked.name)
        if asked.ref is not None and "/" in asked.ref:
            found = self.readable(session, who, asked.ref.partition(":")[0])
            return [self.as_wire(session, found)], None
        if asked.ref is not None:
            base = asked.ref.partition(":")[0]
            query = query.where((DatasetRow.name == base) | (DatasetRow.id == base))
        columns = {
            "created_at": DatasetRow.created_at, "updated_at": DatasetRow.updated_at,
            "name": DatasetRow.name,
        }  # fmt: skip
        rows, following = page(session, query, asked, columns=columns, key=DatasetRow.id)
        return [self.as_wire(session, row) for row in rows], following

    def change(self, session: Session, row: DatasetRow, asked: DatasetPatch) -> Dataset:
        """Change name or description."""
        if asked.name is not None and asked.name != row.name:
            self._check_free(session, row.team_id, asked.name)
            row.name = asked.name
        if asked.description is not None:
            row.description = asked.description
        if asked.public is not None:
            row.public = asked.public
            self.public.withdraw_later(session, row.id)
        row.updated_at = now()
        row.revision += 1
        self.tell(session, row, "changed")
        return self.as_wire(session, row)

    def delete(self, session: Session, row: DatasetRow) -> None:
        """Delete a dataset with all its versions; InUse when something depends on it."""
        holders = [what for guard in self.guards for what in guard(session, row.id)]
        if holders:
            shown = ", ".join(holders[:5]) + (" and others" if len(holders) > 5 else "")
            raise InUse(
                f"The dataset '{row.name}' is needed by {shown}.",
                hint="Delete what depends on it first.",
            )
        md5s = list(session.scalars(select(LinkRow.md5).where(LinkRow.dataset_id == row.id)))
        ids = list(session.scalars(select(VersionRow.id).where(VersionRow.dataset_id == row.id)))
        for start in range(0, len(ids), 500):
            some = ids[start : start + 500]
            session.execute(delete(InputRow).where(InputRow.version_id.in_(some)))
        uploads = select(UploadRow.id).where(UploadRow.dataset_id == row.id)
        session.execute(delete(ChangeRow).where(ChangeRow.upload_id.in_(uploads)))
        for table in (LinkRow, PackRow, UploadRow, VersionRow, TagRow):
            for item in session.scalars(select(table).where(table.dataset_id == row.id)):
                session.delete(item)
        session.flush()
        drop_unlinked(session, row.space, md5s)
        session.add(GarbageRow(team_id=row.space, kind="dataset", name=row.id))
        self.tell(session, row, "deleted")
        session.delete(row)
        self.collect_later(session, row.space)

    def _check_free(self, session: Session, team_id: str, name: str) -> None:
        if by_name(session, [team_id], name):
            raise NameTaken(name)

    def project_holds(self, session: Session, project_id: str) -> str | None:
        """Return what of datasets a project holds."""
        return held(session, DatasetRow.project_id, project_id, "dataset")

    def provider_holds(self, session: Session, provider_id: str | None) -> str | None:
        """Return what of datasets lies in a storage provider, None: in the hub's own store."""
        if provider_id is None:
            own = select(DatasetRow.id).where(DatasetRow.provider_id.is_(None))
            full = session.scalars(own.where(DatasetRow.latest.is_not(None)).limit(1)).first()
            return "datasets" if full else None
        left = session.scalars(select(GarbageRow.id).filter_by(team_id=provider_id).limit(1))
        found = held(session, DatasetRow.provider_id, provider_id, "dataset")
        return found or ("data that is just being deleted" if left.first() else None)

    # Versions.

    def resolve(self, session: Session, who: Principal | str, ref: str) -> VersionRow:
        """Return the version meant by a dataset that the caller may read, and maybe ``:<which>``.

        Raises
        ------
        NoSuchDataset, NoSuchVersion
            Naming the reference.
        """
        base, _, version = ref.partition(":")
        return self.version(session, self.readable(session, who, base), version or LATEST)

    def version(self, session: Session, dataset: DatasetRow, version: str) -> VersionRow:
        """Return a version of a dataset by its 7 characters, its whole id, a tag or ``latest``."""
        name = version.removeprefix(f"{dataset.id}:")
        wanted = dataset.latest if name == LATEST else f"{dataset.id}:{name}"
        row = session.get(VersionRow, wanted) if wanted else None
        row = row or tags.target(session, dataset, name)
        if row is None or row.deleted_at is not None:
            raise NoSuchVersion(f"{dataset.name}:{name}")
        return row

    def versions(
        self, session: Session, dataset: DatasetRow, asked: PageQuery
    ) -> tuple[Sequence[DatasetVersion], str | None]:
        """Return a page of a dataset's versions; those made later have higher numbers."""
        columns = {"created_at": VersionRow.number, "number": VersionRow.number}
        rows, following = page(
            session, versions_of(dataset.id), asked, columns=columns, key=VersionRow.id
        )
        return [version_wire(dataset, row) for row in rows], following

    # What others hear.

    def collect_later(self, session: Session, space: str) -> None:
        """Delete a space's left-over bytes once the transaction is committed."""
        self._context.reconciler.wake(session, "dataset-garbage", space)

    def purge_later(self, session: Session, row: DatasetRow) -> None:
        """Look after a dataset's condemned versions from now on."""
        self._context.reconciler.wake(session, "dataset-purge", row.id)

    def tell(self, session: Session, row: DatasetRow, type_: str) -> None:
        """Say that a dataset changed."""
        data = {"name": row.name, "latest": row.latest}
        event = Event("dataset", row.id, type_, row.team_id, row.project_id, data)
        self._context.events.emit(session, event)

    def as_wire(self, session: Session, row: DatasetRow) -> Dataset:
        """Return the row as clients see it."""
        latest = session.get(VersionRow, row.latest) if row.latest else None
        return Dataset(
            id=row.id, team_id=row.team_id, project_id=row.project_id,
            storage_provider_id=row.provider_id, name=row.name, description=row.description,
            created_by=row.created_by, created_at=row.created_at, updated_at=row.updated_at,
            revision=row.revision, public=row.public,
            latest_version=summary(latest) if latest else None,
        )  # fmt: skip
