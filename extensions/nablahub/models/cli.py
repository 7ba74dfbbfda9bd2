"""``nablahub models``."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import click

from nablahub.core.console import (
    confirm_deletion,
    emit_fields,
    emit_json,
    emit_table,
    hub_command,
    size_text,
    transfer,
    yes_option,
)
from nablahub.core.transport import Transport
from nablahub.datasets.cli import download_options, show_download
from nablahub.models.api import ModelsAPI
from nablahub.models.types import FORMATS, Format, Model, ModelVersion
from nablahub.projects.api import ProjectsAPI


@click.group()
def models() -> None:
    """Models and their versions."""


def _show(model: Model, *, as_json: bool) -> None:
    if as_json:
        emit_json(model)
        return
    latest = model.latest_version
    emit_fields({
        "id": model.id, "name": model.name, "project": model.project_id,
        "description": model.description or None,
        "latest": latest.id if latest else None, "format": latest.format if latest else None,
        "created": model.created_at, "by": model.created_by,
    })  # fmt: skip


def _show_version(version: ModelVersion, *, as_json: bool) -> None:
    if as_json:
        emit_json(version)
        return
    emit_fields({
        "version": version.id, "model": version.model_name, "number": version.number,
        "format": version.format, "files": version.files, "size": size_text(version.bytes),
        "of": version.dataset_version + (f"/{version.path}" if version.path else ""),
        "from": version.source, "by": version.author, "created": version.created_at,
        **version.metadata,
    })  # fmt: skip


@models.command("list")
@click.option("--project", help="Id or name; only its models.")
@hub_command
def list_models(hub: Transport, project: str | None, *, as_json: bool) -> None:
    """List your models."""
    project_id = ProjectsAPI(hub).get(project).id if project else None
    rows = list(ModelsAPI(hub).list(project=project_id))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "name": lambda m: m.name, "id": lambda m: m.id,
            "latest": lambda m: m.latest_version.version if m.latest_version else None,
            "format": lambda m: m.latest_version.format if m.latest_version else None,
            "updated": lambda m: m.updated_at,
        },
        rows,
    )  # fmt: skip


@models.command("show")
@click.argument("ref")
@hub_command
def show_model(hub: Transport, ref: str, *, as_json: bool) -> None:
    """Show a model, or with REF:VERSION one version of it."""
    api = ModelsAPI(hub)
    if ":" in ref:
        _show_version(api.version(ref), as_json=as_json)
    else:
        _show(api.get(ref), as_json=as_json)


@models.command("versions")
@click.argument("model")
@hub_command
def versions(hub: Transport, model: str, *, as_json: bool) -> None:
    """List the versions of a model."""
    rows = list(ModelsAPI(hub).versions(model))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "#": lambda v: v.number, "version": lambda v: v.version, "format": lambda v: v.format,
            "files": lambda v: v.files, "size": lambda v: size_text(v.bytes),
            "of": lambda v: v.dataset_version, "from": lambda v: v.source,
            "created": lambda v: v.created_at,
        },
        rows,
    )  # fmt: skip


@models.command("create")
@click.argument("name")
@click.option("--project", required=True, help="Id or name of its project.")
@click.option("--from", "source", required=True, help="Dataset version, such as digits:latest.")
@click.option("--format", "format_", type=click.Choice(FORMATS), default="ONNX", show_default=True)
@click.option("--path", default="", help="A folder or file of it; default: all of it.")
@click.option("-m", "--message", default="", help="What is new in this version.")
@hub_command
def create(
    hub: Transport,
    name: str,
    project: str,
    source: str,
    format_: str,
    path: str,
    message: str,
    *,
    as_json: bool,
) -> None:
    """Make a version of a model of a dataset version's files; the model too when it is new."""
    api = ModelsAPI(hub)
    model = api.ensure(name, project=ProjectsAPI(hub).get(project).id)
    made = api.add_version(
        model.id, source, format=cast("Format", format_), path=path, message=message
    )
    _show_version(made, as_json=as_json)


@models.command("get")
@download_options
@hub_command
def get(
    hub: Transport, ref: str, target: Path | None, path: str | None, force: bool, *, as_json: bool
) -> None:
    """Download a version into a folder (default: one of the model's name).

    Files that are there already and differ are left alone: nothing is downloaded then.
    """
    api = ModelsAPI(hub)
    target = target or Path((path or api.get(ref).name).rpartition("/")[2])
    with transfer(f"Downloading {ref}") as report:
        version = api.download(ref, target, path=path, progress=report, overwrite=force)
    show_download(version.id, target, as_json=as_json)


@models.command("delete")
@click.argument("model")
@yes_option
@hub_command
def delete(hub: Transport, model: str, yes: bool, *, as_json: bool) -> None:
    """Delete a model with its versions; the files stay in their datasets."""
    api = ModelsAPI(hub)
    found = api.get(model)
    confirm_deletion(f"the model {found.name} with all its versions", yes=yes)
    api.delete(found.id)
    if as_json:
        emit_json({"deleted": found.id})
    else:
        click.echo(f"Deleted {found.name} ({found.id}).")
