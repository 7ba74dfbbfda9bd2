"""Rules of datasets: names, references, versions, who depends on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import Fault, Invalid
from nablahub.core.events import Event
from nablahub.core.ids import new_id
from nablahub.core.objects import DirectoryStore
from nablahub.core.paging import PageQuery, page
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.datasets.building import Building
from nablahub.datasets.contents import Contents, PackTables
from nablahub.datasets.errors import InUse, NameTaken, NoSuchDataset, NoSuchVersion
from nablahub.datasets.intake import Parts
from nablahub.datasets.layout import cache_name
from nablahub.datasets.manifests import ManifestReader
from nablahub.datasets.store import (
    DatasetRow,
    GarbageRow,
    LinkRow,
    PackRow,
    UploadRow,
    VersionRow,
    by_name,
    of_teams,
    pack_names,
    versions_of,
)
from nablahub.datasets.types import (
    Dataset,
    DatasetCreate,
    DatasetPatch,
    DatasetQuery,
    DatasetVersion,
    VersionSummary,
)
from nablahub.datasets.uploads import Origin, drop_unlinked
from nablahub.projects.service import ProjectService, held
from nablahub.teams.service import TeamService

LATEST: Final = "latest"
#: Tells what of another slice depends on a dataset, such as ``["model digits"]``.
Guard = Callable[[Session, str], list[str]]


class DatasetService:
    """Datasets of teams."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.settings = context.settings
        self.tables = PackTables()
        self.guards: list[Guard] = []
        self._parts: dict[str, Parts] = {}
        self.building = Building(context, self)

    async def start(self) -> None:
        """Clean up after a process that died; called when the service starts."""
        self.building.start(asyncio.get_running_loop())

    def resume(self, session: Session) -> None:
        """Take up what was left unfinished."""
        self.building.resume(session)

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

        def look(session: Session) -> str:
            version = session.get(VersionRow, version_id)
            if version is None:
                raise NoSuchVersion(version_id)
            dataset = session.get_one(DatasetRow, version.dataset_id)
            return f"{dataset.team_id}/{cache_name(dataset.id, version.version)}"

        return self.building.read(look)

    def commit_tree(
        self, dataset_id: str, tree: Path, *, key: str, author: str, source: str, message: str = ""
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

        Raises
        ------
        BadPath, DatasetQuota, StorageFull, NoSuchDataset
            Nothing is left of the attempt then.
        """
        return self.building.commit_tree(dataset_id, tree, Origin(author, source, message, key))

    # What lies where.

    def store(self, team_id: str) -> DirectoryStore:
        """Return a team's object store."""
        return DirectoryStore(self.settings.state.objects / team_id)

    def parts(self, team_id: str) -> Parts:
        """Return what is arriving for a team."""
        root = self.settings.state.objects / team_id / "parts"
        return self._parts.setdefault(team_id, Parts(root))

    def contents(self, session: Session, dataset: DatasetRow) -> Contents:
        """Return the objects of a dataset."""
        names = pack_names(session, dataset.id)
        return Contents(self.store(dataset.team_id), dataset.id, names, self.tables)

    def manifest(self, dataset: DatasetRow, version: VersionRow) -> ManifestReader:
        """Return the manifest of a version."""
        return ManifestReader(self.store(dataset.team_id), dataset.id, version.version)

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
        row = self._make(session, team_id, asked.project or who.project_id, asked.name, who.name)
        row.description = asked.description
        return self.as_wire(session, row)

    def _check_same_team(self, session: Session, who: Principal, team: str, team_id: str) -> None:
        if self._context.get(TeamService).pick(session, who, team) != team_id:
            raise Invalid(
                "The project belongs to another team than the one given.",
                errors=[Fault("Not the project's team.", "/team", hint="Leave it out.")],
            )

    def _make(
        self, session: Session, team_id: str, project_id: str | None, name: str, author: str
    ) -> DatasetRow:
        self._check_free(session, team_id, name)
        at = now()
        row = DatasetRow(
            id=new_id("dataset"), team_id=team_id, project_id=project_id, name=name,
            description="", latest=None, created_by=author, created_at=at, updated_at=at,
            revision=1,
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
        teams = frozenset({who}) if isinstance(who, str) else who.team_ids
        row = self._find(session, teams, ref)
        if row is None:
            raise NoSuchDataset(ref)
        if isinstance(who, Principal):
            who.check_project(row.project_id, f"Dataset {ref}")
        return row

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
        for table in (LinkRow, PackRow, UploadRow, VersionRow):
            for item in session.scalars(select(table).where(table.dataset_id == row.id)):
                session.delete(item)
        session.flush()
        drop_unlinked(session, row.team_id, md5s)
        session.add(GarbageRow(team_id=row.team_id, kind="dataset", name=row.id))
        self.tell(session, row, "deleted")
        session.delete(row)
        self.collect_later(session, row.team_id)

    def _check_free(self, session: Session, team_id: str, name: str) -> None:
        if by_name(session, [team_id], name):
            raise NameTaken(name)

    def project_holds(self, session: Session, project_id: str) -> str | None:
        """Return what of datasets a project holds."""
        return held(session, DatasetRow.project_id, project_id, "dataset")

    # Versions.

    def resolve(self, session: Session, who: Principal | str, ref: str) -> VersionRow:
        """Return the version meant by ``<id|name>``, ``…:latest`` or ``…:<version>``.

        Raises
        ------
        NoSuchDataset, NoSuchVersion
            Naming the reference.
        """
        base, _, version = ref.partition(":")
        return self.version(session, self.row(session, who, base), version or LATEST)

    def version(self, session: Session, dataset: DatasetRow, version: str) -> VersionRow:
        """Return a version of a dataset by its 7 characters, its whole id, or ``latest``."""
        name = version.removeprefix(f"{dataset.id}:")
        wanted = dataset.latest if name == LATEST else f"{dataset.id}:{name}"
        row = session.get(VersionRow, wanted) if wanted else None
        if row is None:
            raise NoSuchVersion(f"{dataset.name}:{name}")
        return row

    def versions(
        self, session: Session, dataset: DatasetRow, asked: PageQuery
    ) -> tuple[Sequence[DatasetVersion], str | None]:
        """Return a page of a dataset's versions."""
        columns = {"created_at": VersionRow.created_at, "number": VersionRow.number}
        rows, following = page(
            session, versions_of(dataset.id), asked, columns=columns, key=VersionRow.id
        )
        return [version_wire(dataset, row) for row in rows], following

    # What others hear.

    def collect_later(self, session: Session, team_id: str) -> None:
        """Delete a team's left-over bytes once the transaction is committed."""
        self._context.reconciler.wake(session, "dataset-garbage", team_id)

    def tell(self, session: Session, row: DatasetRow, type_: str) -> None:
        """Say that a dataset changed."""
        data = {"name": row.name, "latest": row.latest}
        event = Event("dataset", row.id, type_, row.team_id, row.project_id, data)
        self._context.events.emit(session, event)

    def as_wire(self, session: Session, row: DatasetRow) -> Dataset:
        """Return the row as clients see it."""
        latest = session.get(VersionRow, row.latest) if row.latest else None
        return Dataset(
            id=row.id, team_id=row.team_id, project_id=row.project_id, name=row.name,
            description=row.description, created_by=row.created_by, created_at=row.created_at,
            updated_at=row.updated_at, revision=row.revision,
            latest_version=summary(latest) if latest else None,
        )  # fmt: skip


def summary(row: VersionRow) -> VersionSummary:
    """Return what lists show of a version."""
    return VersionSummary(
        id=row.id, version=row.version, ref=row.id, files=row.files, bytes=row.size,
        created_at=row.created_at,
    )  # fmt: skip


def version_wire(dataset: DatasetRow, row: VersionRow) -> DatasetVersion:
    """Return a version as clients see it."""
    return DatasetVersion(
        **summary(row).model_dump(), dataset_id=dataset.id, dataset_name=dataset.name,
        number=row.number, message=row.message, author=row.author, source=row.source,
        digest=row.digest, dvc_md5=row.dvc_md5,
    )  # fmt: skip
