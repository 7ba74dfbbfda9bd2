"""Rows of datasets as clients see them."""

from __future__ import annotations

from nablahub.datasets.store import DatasetRow, VersionRow
from nablahub.datasets.types import DatasetVersion, VersionSummary


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
        digest=row.digest, dvc_md5=row.dvc_md5 or None,
    )  # fmt: skip
