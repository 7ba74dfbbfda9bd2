"""What makes a version of a model, its files, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nablahub.datasets.manifest import Entry
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import DatasetRow, VersionRow
from nablahub.models.store import ModelRow, ModelVersionRow
from nablahub.models.types import ModelVersion, ModelVersionSummary


@dataclass(frozen=True)
class Registration:
    """What makes a version: files of a dataset version, and where they came from.

    Parameters
    ----------
    dataset_version_ref : str
        Whose files.
    format : str
        One of :data:`FORMATS`.
    path : str
        A folder or one file of the version; empty for all of it.
    author, source, message : str
        What is shown of where it came from.
    key : str or None
        Makes it idempotent: the same key always gives the same version.
    metadata : dict
        Anything JSON can hold.
    """

    dataset_version_ref: str
    format: str
    path: str = ""
    author: str = ""
    source: str = ""
    message: str = ""
    key: str | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


def under(
    datasets: DatasetService, dataset: DatasetRow, version: VersionRow, path: str
) -> Iterator[Entry]:
    """Yield the files at a path of a version, named as seen from there."""
    manifest = datasets.manifest(dataset, version)
    if not path:
        yield from manifest.entries()
        return
    if (single := manifest.find(path)) is not None:
        yield single._replace(path=path.rpartition("/")[2])
        return
    prefix = path + "/"
    for entry in manifest.after("", prefix=prefix):
        yield entry._replace(path=entry.path[len(prefix) :])


def summary(row: ModelVersionRow) -> ModelVersionSummary:
    """Return what lists show of a version."""
    return ModelVersionSummary.model_validate({
        "id": row.id, "version": row.version, "ref": row.id, "number": row.number,
        "format": row.format, "created_at": row.created_at,
    })  # fmt: skip


def version_wire(model: ModelRow, row: ModelVersionRow) -> ModelVersion:
    """Return a version as clients see it."""
    return ModelVersion(
        **summary(row).model_dump(), model_id=model.id, model_name=model.name,
        dataset_version=row.dataset_version, path=row.path, files=row.files, bytes=row.size,
        metadata=json.loads(row.meta), message=row.message, author=row.author, source=row.source,
    )  # fmt: skip
