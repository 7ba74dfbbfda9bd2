"""What makes a version of a model, its files, and how it is shown."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nablahub.core.errors import Fault
from nablahub.datasets.manifest import Entry
from nablahub.datasets.paths import show
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import DatasetRow, VersionRow
from nablahub.models.errors import BadModelFiles
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


@dataclass(frozen=True)
class ModelFiles:
    """What was seen of the files that a model's version shall have.

    Parameters
    ----------
    version : str
        Id of the dataset version that was looked at.
    count, size : int
        Of all files, in bytes.
    """

    version: str
    count: int
    size: int


def read_files(
    datasets: DatasetService, dataset: DatasetRow, source: VersionRow, asked: Registration
) -> ModelFiles:
    """Look at the files of a registration; blocks for as long as the object store does.

    Raises
    ------
    BadModelFiles
        When the path is not there, or the files can't be of that format.
    """
    entries = list(under(datasets, dataset, source, asked.path.strip("/")))
    if not entries:
        raise BadModelFiles(
            f"There is nothing at '{show(asked.path)}' in {source.id}.",
            errors=[Fault("No such file or folder.", "/path")],
            hint=f"`nablahub datasets ls {source.id}` shows what there is.",
        )
    found = [entry.path for entry in entries if entry.path.endswith(".onnx")]
    if asked.format == "ONNX" and len(found) != 1:
        raise BadModelFiles(
            f"A model of the format ONNX is one .onnx file; there are {len(found)} in "
            f"{source.id}{'/' + show(asked.path) if asked.path else ''}.",
            errors=[Fault("Not one .onnx file.", "/path")],
            hint="Say which with `path`, or choose another format.",
        )
    return ModelFiles(source.id, len(entries), sum(entry.size for entry in entries))


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
