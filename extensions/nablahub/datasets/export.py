"""What makes a DVC repository use a version of a dataset."""

from __future__ import annotations

import re

from nablahub.datasets.dvc import AUTH_HEADER, DirObject, dvc_config, dvc_file
from nablahub.datasets.store import DatasetRow
from nablahub.datasets.types import DvcExport


def export_of(
    api_url: str, dataset: DatasetRow, tree: DirObject, files: int, size: int
) -> DvcExport:
    """Return the texts of a ``.dvc`` file and of the remote's configuration.

    Parameters
    ----------
    api_url : str
        The service's public root.
    dataset : DatasetRow
        Whose version it is.
    tree : DirObject
        The version's ``.dir`` object.
    files, size : int
        Number of files and their bytes together.
    """
    remote = "nablahub-" + re.sub(r"[^A-Za-z0-9]+", "-", dataset.name).strip("-").lower()
    url = f"{api_url}/dvc/{dataset.id}"
    return DvcExport(
        remote=remote, url=url, header=AUTH_HEADER, config=dvc_config(remote, url),
        dvc_file=dvc_file(dataset.name, tree, files=files, size=size, remote=remote),
    )  # fmt: skip
