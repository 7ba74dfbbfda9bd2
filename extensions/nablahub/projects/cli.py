"""``nablahub projects``."""

from __future__ import annotations

import click

from nablahub.core.console import emit_fields, emit_json, emit_table, hub_command
from nablahub.core.transport import Transport
from nablahub.projects.api import ProjectsAPI
from nablahub.projects.types import Project


@click.group()
def projects() -> None:
    """Create and list projects."""


def _show(project: Project, *, as_json: bool) -> None:
    if as_json:
        emit_json(project)
        return
    emit_fields({
        "id": project.id, "name": project.name, "description": project.description or None,
        "created": project.created_at, "by": project.created_by,
    })  # fmt: skip


@projects.command("list")
@hub_command
def list_projects(hub: Transport, *, as_json: bool) -> None:
    """List your projects."""
    rows = list(ProjectsAPI(hub).list())
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {"name": lambda p: p.name, "id": lambda p: p.id, "created": lambda p: p.created_at}, rows
    )


@projects.command("create")
@click.argument("name")
@click.option("--description", default="", help="What it is about (Markdown).")
@click.option("--team", help="Id or name; default: your private team.")
@hub_command
def create_project(
    hub: Transport, name: str, description: str, team: str | None, *, as_json: bool
) -> None:
    """Create a project."""
    made = ProjectsAPI(hub).create(name, description=description, team=team)
    _show(made, as_json=as_json)


@projects.command("show")
@click.argument("project")
@hub_command
def show_project(hub: Transport, project: str, *, as_json: bool) -> None:
    """Show a project, by id or name."""
    _show(ProjectsAPI(hub).get(project), as_json=as_json)


@projects.command("delete")
@click.argument("project")
@hub_command
def delete_project(hub: Transport, project: str, *, as_json: bool) -> None:
    """Delete an empty project."""
    api = ProjectsAPI(hub)
    found = api.get(project)
    api.delete(found.id)
    if as_json:
        emit_json({"deleted": found.id})
    else:
        click.echo(f"Deleted {found.name} ({found.id}).")
