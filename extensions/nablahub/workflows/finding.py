"""What the commands of workflows share: finding what a user names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from nablahub.core.transport import Transport
from nablahub.projects.api import ProjectsAPI
from nablahub.workflows.api import WorkflowsAPI
from nablahub.workflows.types import WorkflowDetail


def project_option[F: Callable[..., Any]](*, required: bool) -> Callable[[F], F]:
    """Add ``--project`` to a command."""
    return click.option("--project", required=required, help="Id or name of the project.")


def project_id(hub: Transport, ref: str | None) -> str | None:
    """Return the id of the project a user names; None when they name none."""
    return ProjectsAPI(hub).get(ref).id if ref else None


def find(hub: Transport, ref: str, project: str | None) -> WorkflowDetail:
    """Return the workflow a user names, in a project when they name one."""
    return WorkflowsAPI(hub).get(ref, project=project_id(hub, project))
