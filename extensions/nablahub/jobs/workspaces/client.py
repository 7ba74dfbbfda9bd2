"""Uploading a folder for jobs; what the hub has is not sent again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from nablahub.core.transport import Transport
from nablahub.datasets.sending import Progress, silent
from nablahub.jobs.workspaces.errors import NoSuchWorkspace
from nablahub.jobs.workspaces.packing import Folder, look, pack
from nablahub.jobs.workspaces.types import Workspace

_PIECE = 1 << 20
_TYPE = {"Content-Type": "application/gzip"}


def upload(
    hub: Transport, project: str, folder: Path | Folder, progress: Progress = silent
) -> Workspace:
    """Pack a folder and return its workspace, uploaded unless the hub has it.

    Parameters
    ----------
    project : str
        Id of the project whose jobs may have it.
    progress : callable
        Takes the bytes that were packed, then those that were sent, and how many there are.

    Raises
    ------
    BadWorkspace, WorkspaceTooLarge
        Naming the files.
    """
    found = look(folder) if isinstance(folder, Path) else folder
    with tempfile.TemporaryFile(prefix="nablahub-") as archive:
        digest = pack(found, archive, progress)
        where = f"/projects/{project}/workspaces/{digest}"
        try:
            return Workspace.model_validate(hub.get(where))
        except NoSuchWorkspace:
            size = archive.tell()
        archive.seek(0)
        headers = {**_TYPE, "Content-Length": str(size)}
        body = _pieces(archive, size, progress)
        with hub.stream("PUT", where, content=body, headers=headers) as answer:
            return Workspace.model_validate_json(answer.read())


def _pieces(file: BinaryIO, size: int, progress: Progress) -> Iterator[bytes]:
    done = 0
    while data := file.read(_PIECE):
        yield data
        done += len(data)
        progress(done, size)
