"""Rules of models: names, references, versions that point at files of datasets."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.errors import Fault, Invalid
from nablahub.core.events import Event
from nablahub.core.ids import new_id
from nablahub.core.paging import PageQuery, page
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.datasets.errors import InUse
from nablahub.datasets.keeping import Recipe
from nablahub.datasets.layout import cache_name
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import DatasetRow, VersionRow
from nablahub.models.errors import ModelNameTaken, NoSuchModel, NoSuchModelVersion
from nablahub.models.store import (
    ModelRow,
    ModelVersionRow,
    next_number,
    of_teams,
    using_dataset,
    using_version,
    versions_of,
)
from nablahub.models.types import (
    FORMATS,
    Model,
    ModelCreate,
    ModelPatch,
    ModelQuery,
    ModelVersion,
)
from nablahub.models.versions import (
    ModelFiles,
    Registration,
    read_files,
    summary,
    under,
    version_wire,
)
from nablahub.projects.service import ProjectService, held

LATEST: Final = "latest"


@runtime_checkable
class NeedsModels(Protocol):
    """A service whose things stop working without a model."""

    def model_needed_by(self, session: Session, model_id: str) -> list[str]:
        """Return what needs the model, such as ``["deployment digits"]``."""


class ModelService:
    """Models of projects."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._datasets = context.get(DatasetService)
        self._datasets.guards.append(self._needing)
        self._datasets.version_guards.append(self._needing_version)
        self._datasets.building.keeping.recipes.append(self._recipe)

    def _needing(self, session: Session, dataset_id: str) -> list[str]:
        return [f"model {name}:{version}" for name, version in using_dataset(session, dataset_id)]

    def _needing_version(self, session: Session, version_id: str) -> list[str]:
        using = using_version(session, version_id)
        return [f"model {name}:{version}" for name, version in using]

    # Models.

    def create(self, session: Session, who: Principal, asked: ModelCreate) -> Model:
        """Make a model; ModelNameTaken when its project has one of that name."""
        project = self._context.get(ProjectService).row(session, who, asked.project)
        row = self._make(session, project.team_id, project.id, asked.name, who.name)
        row.description = asked.description
        return self.as_wire(session, row)

    def _make(
        self, session: Session, team_id: str, project_id: str, name: str, author: str
    ) -> ModelRow:
        self._check_free(session, project_id, name)
        at = now()
        row = ModelRow(
            id=new_id("model"), team_id=team_id, project_id=project_id, name=name, description="",
            latest=None, created_by=author, created_at=at, updated_at=at, revision=1,
        )  # fmt: skip
        session.add(row)
        session.flush()
        self._tell(session, row, "created")
        return row

    def row(
        self, session: Session, who: Principal | str, ref: str, *, project_id: str | None = None
    ) -> ModelRow:
        """Return the model meant by an id or a name.

        Parameters
        ----------
        who : Principal or str
            Who asks, or the id of a team on whose behalf the hub itself asks.
        project_id : str or None
            Where to look for a name; None: in all of theirs.

        Raises
        ------
        NoSuchModel
            When they have none such.
        Invalid
            When several projects have a model of that name.
        """
        teams = frozenset({who}) if isinstance(who, str) else who.team_ids
        project_id = project_id or (None if isinstance(who, str) else who.project_id)
        row = session.get(ModelRow, ref)
        if row is not None and row.team_id in teams:
            if isinstance(who, Principal):
                who.check_project(row.project_id, f"Model {ref}")
            return row
        query = of_teams(teams).where(ModelRow.name == ref)
        if project_id is not None:
            query = query.where(ModelRow.project_id == project_id)
        found = session.scalars(query.limit(10)).all()
        if len(found) > 1:
            ids = ", ".join(sorted(r.id for r in found))
            raise Invalid(
                f"Several of your projects have a model called '{ref}'.",
                hint=f"Use the id of the one you mean: {ids}.",
            )
        if not found:
            raise NoSuchModel(ref)
        return found[0]

    def list(
        self, session: Session, who: Principal, asked: ModelQuery
    ) -> tuple[list[Model], str | None]:
        """Return a page of the caller's models."""
        query = of_teams(who.team_ids)
        for project in (who.project_id, asked.project):
            if project is not None:
                self._context.get(ProjectService).row(session, who, project)
                query = query.where(ModelRow.project_id == project)
        if asked.name is not None:
            query = query.where(ModelRow.name == asked.name)
        columns = {
            "created_at": ModelRow.created_at, "updated_at": ModelRow.updated_at,
            "name": ModelRow.name,
        }  # fmt: skip
        rows, following = page(session, query, asked, columns=columns, key=ModelRow.id)
        return [self.as_wire(session, row) for row in rows], following

    def change(self, session: Session, row: ModelRow, asked: ModelPatch) -> Model:
        """Change name or description."""
        if asked.name is not None and asked.name != row.name:
            self._check_free(session, row.project_id, asked.name)
            row.name = asked.name
        if asked.description is not None:
            row.description = asked.description
        row.updated_at = now()
        row.revision += 1
        self._tell(session, row, "changed")
        return self.as_wire(session, row)

    def delete(self, session: Session, row: ModelRow) -> None:
        """Delete a model with its versions; their files stay in the datasets.

        Raises
        ------
        InUse
            When something, such as a deployment, needs it.
        """
        holders = [
            what
            for service in self._context.services
            if isinstance(service, NeedsModels)
            for what in service.model_needed_by(session, row.id)
        ]
        if holders:
            raise InUse(
                f"The model '{row.name}' is needed by {', '.join(holders)}.",
                hint="Delete what depends on it first.",
            )
        for version in session.scalars(versions_of(row.id)):
            session.delete(version)
        session.flush()
        self._tell(session, row, "deleted")
        session.delete(row)

    def _check_free(self, session: Session, project_id: str, name: str) -> None:
        query = select(ModelRow.id).filter_by(project_id=project_id, name=name)
        if session.scalars(query).first():
            raise ModelNameTaken(name)

    def project_holds(self, session: Session, project_id: str) -> str | None:
        """Return what of models a project holds."""
        return held(session, ModelRow.project_id, project_id, "model")

    # Versions.

    def resolve(
        self, session: Session, who: Principal | str, ref: str, *, project_id: str | None = None
    ) -> ModelVersionRow:
        """Return the version meant by ``<id|name>``, ``…:latest`` or ``…:<version>``."""
        base, _, version = ref.partition(":")
        row = self.row(session, who, base, project_id=project_id)
        return self.version(session, row, version or LATEST)

    def version(self, session: Session, model: ModelRow, version: str) -> ModelVersionRow:
        """Return a version by its 7 characters, its whole id, or ``latest``."""
        name = version.removeprefix(f"{model.id}:")
        wanted = model.latest if name == LATEST else f"{model.id}:{name}"
        row = session.get(ModelVersionRow, wanted) if wanted else None
        if row is None:
            raise NoSuchModelVersion(f"{model.name}:{name}")
        return row

    def versions(
        self, session: Session, model: ModelRow, asked: PageQuery
    ) -> tuple[Sequence[ModelVersion], str | None]:
        """Return a page of a model's versions; those made later have higher numbers."""
        columns = {"created_at": ModelVersionRow.number, "number": ModelVersionRow.number}
        rows, following = page(
            session, versions_of(model.id), asked, columns=columns, key=ModelVersionRow.id
        )
        return [version_wire(model, row) for row in rows], following

    def register(
        self,
        session: Session,
        *,
        team_id: str,
        project_id: str,
        name: str,
        asked: Registration,
        files: ModelFiles,
    ) -> ModelVersionRow:
        """Make a version of the project's model of that name, and the model when it is missing.

        Idempotent by its key; see :meth:`add`.
        """
        if (done := self._by_key(session, asked.key)) is not None:
            return done
        query = select(ModelRow).filter_by(project_id=project_id, name=name)
        model = session.scalars(query).first() or self._make(
            session, team_id, project_id, name, asked.author
        )
        return self.add(session, team_id, model, asked, files)

    def _by_key(self, session: Session, key: str | None) -> ModelVersionRow | None:
        if key is None:
            return None
        return session.scalars(select(ModelVersionRow).filter_by(key=key)).first()

    def look(
        self, session: Session, who: Principal | str, team_id: str, asked: Registration
    ) -> tuple[DatasetRow, VersionRow]:
        """Return the files that a version of a team's model would have: not yet what they are.

        Raises
        ------
        NoSuchDataset, NoSuchVersion
            Naming the reference.
        Invalid
            When there is no such format, or the files are another team's.
        """
        if asked.format not in FORMATS:
            raise Invalid(
                f"There is no model format '{asked.format}'.",
                errors=[Fault("Unknown format.", "/format", hint=f"One of {', '.join(FORMATS)}.")],
            )
        source = self._datasets.resolve(session, who, asked.dataset_version_ref)
        dataset = session.get_one(DatasetRow, source.dataset_id)
        if dataset.team_id != team_id:
            raise Invalid(
                "A model's files must be in a dataset of its own team.",
                errors=[Fault("Another team's dataset.", "/dataset_version")],
            )
        return dataset, source

    def read(self, dataset: DatasetRow, source: VersionRow, asked: Registration) -> ModelFiles:
        """Look at what :meth:`look` found; blocks as the store does; see :func:`read_files`."""
        return read_files(self._datasets, dataset, source, asked)

    def add(
        self,
        session: Session,
        who: Principal | str,
        model: ModelRow,
        asked: Registration,
        files: ModelFiles,
    ) -> ModelVersionRow:
        """Make a version of a model of files that :meth:`read` has looked at.

        Raises
        ------
        NoSuchDataset, NoSuchVersion
            When they were deleted meanwhile.
        """
        # What was looked at, also where the reference means another version by now.
        asked = replace(asked, dataset_version_ref=files.version)
        _, source = self.look(session, who, model.team_id, asked)
        version, at = new_id("version"), now()
        row = ModelVersionRow(
            id=f"{model.id}:{version}", model_id=model.id, version=version,
            number=next_number(session, model.id), key=asked.key, dataset_id=source.dataset_id,
            dataset_version=source.id, path=asked.path.strip("/"), format=asked.format,
            files=files.count, size=files.size, meta=json.dumps(asked.metadata),
            message=asked.message, author=asked.author, source=asked.source, created_at=at,
        )  # fmt: skip
        session.add(row)
        session.flush()
        model.latest = row.id
        model.updated_at = at
        model.revision += 1
        self._tell(session, model, "changed")
        return row

    # Files.

    def source(self, session: Session, version: ModelVersionRow) -> tuple[DatasetRow, VersionRow]:
        """Return the dataset and the version of it whose files a model version has."""
        dataset = session.get_one(DatasetRow, version.dataset_id)
        return dataset, session.get_one(VersionRow, version.dataset_version)

    def materialise(self, version_id: str) -> Path:
        """Return one read-only folder with a model version's files; blocks, so use a thread.

        A version that is a whole dataset version shares its tree; a part of one gets a tree of
        its own, whose large files take no space.
        """

        def look(session: Session) -> tuple[ModelVersionRow, Callable[[], Path]]:
            row = session.get(ModelVersionRow, version_id)
            if row is None:
                raise NoSuchModelVersion(version_id)
            dataset, _ = self.source(session, row)
            name = cache_name(row.model_id, row.version)
            recipe = self._recipe_of(session, row)
            return row, lambda: self._datasets.building.keeping.tree(recipe, dataset.team_id, name)

        row, make = self._context.database.read_sync(look)
        return make() if row.path else self._datasets.materialise(row.dataset_version)

    def _recipe(self, session: Session, name: str) -> Recipe | None:
        model, _, version = name.partition("-")
        row = session.get(ModelVersionRow, f"{model}:{version}")
        return self._recipe_of(session, row) if row is not None else None

    def _recipe_of(self, session: Session, row: ModelVersionRow) -> Recipe:
        dataset, source = self.source(session, row)
        files = partial(under, self._datasets, dataset, source, row.path)
        return Recipe(self._datasets.contents(session, dataset), files)

    def cached_at(self, version_id: str) -> str:
        """Return where a version's folder lies in a cache, ``<team>/<name>``."""
        return self._datasets.building.read(lambda s: self.place(s, version_id))

    def place(self, session: Session, version_id: str) -> str:
        """Return the same within a transaction; NoSuchModelVersion."""
        row = session.get(ModelVersionRow, version_id)
        if row is None:
            raise NoSuchModelVersion(version_id)
        if not row.path:
            return self._datasets.place(session, row.dataset_version)
        dataset, _ = self.source(session, row)
        return f"{dataset.team_id}/{cache_name(row.model_id, row.version)}"

    # What others see.

    def _tell(self, session: Session, row: ModelRow, type_: str) -> None:
        data = {"name": row.name, "latest": row.latest}
        event = Event("model", row.id, type_, row.team_id, row.project_id, data)
        self._context.events.emit(session, event)

    def as_wire(self, session: Session, row: ModelRow) -> Model:
        """Return the row as clients see it."""
        latest = session.get(ModelVersionRow, row.latest) if row.latest else None
        return Model(
            id=row.id, team_id=row.team_id, project_id=row.project_id, name=row.name,
            description=row.description, created_by=row.created_by, created_at=row.created_at,
            updated_at=row.updated_at, revision=row.revision,
            latest_version=summary(latest) if latest else None,
        )  # fmt: skip
