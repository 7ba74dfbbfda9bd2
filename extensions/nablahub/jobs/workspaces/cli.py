"""What commands share that send a folder with their jobs."""

from __future__ import annotations

from pathlib import Path

import click

from nablahub.core.console import size_text, stderr, transfer
from nablahub.core.transport import Transport

workspace_option = click.option(
    "--workspace", type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder that goes with it: commands begin in a copy. .gitignore counts.",
)  # fmt: skip


def send_folder(hub: Transport, project: str, folder: Path) -> str:
    """Pack a folder, upload it unless the hub has it, and return its digest.

    Parameters
    ----------
    project : str
        Id of the project whose jobs may have it.
    """
    from nablahub.jobs.workspaces.client import upload
    from nablahub.jobs.workspaces.packing import look

    found = look(folder)
    words = f"{len(found.files)} files, {size_text(found.size)}"
    stderr().print(f"Workspace {folder}: {words}", style="dim", markup=False, soft_wrap=True)
    with transfer("Workspace") as progress:
        return upload(hub, project, found, progress).digest
