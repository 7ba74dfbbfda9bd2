"""``nablahub datasets``."""

from __future__ import annotations

import configparser
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
from nablahub.core.errors import Conflict, NotFound
from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.types import Dataset, DatasetVersion, Verification
from nablahub.projects.api import ProjectsAPI


def download_options[F: Callable[..., Any]](function: F) -> F:
    """Give a command what a download of versioned files takes."""
    force = click.option("--force", is_flag=True, help="Overwrite files that differ.")
    one = click.option("--path", help="Only this file.")
    target = click.argument("target", required=False, type=click.Path(path_type=Path))
    return click.argument("ref")(target(one(force(function))))


def show_download(version: str, target: Path, *, as_json: bool) -> None:
    """Say where a version was put."""
    if as_json:
        emit_json({"version": version, "target": str(target.absolute())})
    else:
        click.echo(f"{version} is in {target}.")


@click.group()
def datasets() -> None:
    """Versioned data: put, get, list, share with DVC."""


def _show(dataset: Dataset, *, as_json: bool) -> None:
    if as_json:
        emit_json(dataset)
        return
    latest = dataset.latest_version
    emit_fields({
        "id": dataset.id, "name": dataset.name, "project": dataset.project_id,
        "storage": dataset.storage_provider_id,
        "description": dataset.description or None,
        "latest": latest.id if latest else None,
        "files": latest.files if latest else None,
        "size": size_text(latest.bytes) if latest else None,
        "created": dataset.created_at, "by": dataset.created_by,
    })  # fmt: skip


def _show_version(version: DatasetVersion, *, as_json: bool) -> None:
    if as_json:
        emit_json(version)
        return
    emit_fields({
        "version": version.id, "dataset": version.dataset_name, "number": version.number,
        "files": version.files, "size": size_text(version.bytes),
        "message": version.message or None, "from": version.source, "by": version.author,
        "created": version.created_at,
    })  # fmt: skip


def _project(hub: Transport, project: str | None) -> str | None:
    return ProjectsAPI(hub).get(project).id if project else None


@datasets.command("list")
@click.option("--project", help="Id or name; only its datasets.")
@hub_command
def list_datasets(hub: Transport, project: str | None, *, as_json: bool) -> None:
    """List your datasets."""
    rows = list(DatasetsAPI(hub).list(project=_project(hub, project)))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "name": lambda d: d.name, "id": lambda d: d.id,
            "latest": lambda d: d.latest_version.version if d.latest_version else None,
            "files": lambda d: d.latest_version.files if d.latest_version else None,
            "size": lambda d: size_text(d.latest_version.bytes) if d.latest_version else None,
            "updated": lambda d: d.updated_at,
        },
        rows,
    )  # fmt: skip


@datasets.command("create")
@click.argument("name")
@click.option("--project", help="Id or name of the project it is shown in.")
@click.option("--description", default="", help="What it holds (Markdown).")
@click.option("--storage", help="Id or name of the storage provider; default: the hub's store.")
@hub_command
def create_dataset(
    hub: Transport,
    name: str,
    project: str | None,
    description: str,
    storage: str | None,
    *,
    as_json: bool,
) -> None:
    """Create an empty dataset."""
    made = DatasetsAPI(hub).create(
        name, project=_project(hub, project), description=description, storage=storage
    )
    _show(made, as_json=as_json)


@datasets.command("show")
@click.argument("ref")
@hub_command
def show_dataset(hub: Transport, ref: str, *, as_json: bool) -> None:
    """Show a dataset, or with REF:VERSION one version of it."""
    api = DatasetsAPI(hub)
    if ":" in ref:
        _show_version(api.version(ref), as_json=as_json)
    else:
        _show(api.get(ref), as_json=as_json)


@datasets.command("put")
@click.argument("dataset")
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option("-m", "--message", default="", help="What is new in this version.")
@click.option("--create", is_flag=True, help="Create the dataset when there is none.")
@click.option("--project", help="With --create: the project it is shown in.")
@hub_command
def put(
    hub: Transport,
    dataset: str,
    source: Path,
    message: str,
    create: bool,
    project: str | None,
    *,
    as_json: bool,
) -> None:
    """Commit a folder or file as a new version; sends only what the hub lacks."""
    api = DatasetsAPI(hub)
    if create:
        api.ensure(dataset, project=_project(hub, project))
    with transfer(f"Uploading {source.name}") as report:
        made = api.upload(dataset, source, message=message, progress=report)
    _show_version(made, as_json=as_json)


@datasets.command("get")
@download_options
@hub_command
def get(
    hub: Transport, ref: str, target: Path | None, path: str | None, force: bool, *, as_json: bool
) -> None:
    """Download a version into a folder (default: one of the dataset's name).

    Files that are there already and differ are left alone: nothing is downloaded then.
    """
    api = DatasetsAPI(hub)
    target = target or Path((path or api.get(ref).name).rpartition("/")[2])
    with transfer(f"Downloading {ref}") as report:
        version = api.download(ref, target, path=path, progress=report, overwrite=force)
    show_download(version.id, target, as_json=as_json)


@datasets.command("ls")
@click.argument("ref")
@click.argument("prefix", default="")
@hub_command
def ls(hub: Transport, ref: str, prefix: str, *, as_json: bool) -> None:
    """List the files of a version."""
    rows = DatasetsAPI(hub).files(ref, prefix=prefix)
    if as_json:
        emit_json(list(rows))
        return
    for file in rows:
        click.echo(f"{size_text(file.size):>10}  {file.path}")


@datasets.command("cat")
@click.argument("ref")
@click.argument("path")
@hub_command
def cat(hub: Transport, ref: str, path: str, *, as_json: bool) -> None:
    """Write a file's content to stdout."""
    api = DatasetsAPI(hub)
    if as_json:
        emit_json({"path": path, "text": api.read(ref, path).decode(errors="replace")})
        return
    for data in api.stream(ref, path):
        sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


@datasets.command("versions")
@click.argument("dataset")
@hub_command
def versions(hub: Transport, dataset: str, *, as_json: bool) -> None:
    """List the versions of a dataset."""
    rows = list(DatasetsAPI(hub).versions(dataset))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "#": lambda v: v.number, "version": lambda v: v.version, "files": lambda v: v.files,
            "size": lambda v: size_text(v.bytes), "message": lambda v: v.message or None,
            "from": lambda v: v.source, "created": lambda v: v.created_at,
        },
        rows,
    )  # fmt: skip


@datasets.command("delete")
@click.argument("dataset")
@yes_option
@hub_command
def delete(hub: Transport, dataset: str, yes: bool, *, as_json: bool) -> None:
    """Delete a dataset with all its versions."""
    api = DatasetsAPI(hub)
    found = api.get(dataset)
    confirm_deletion(f"the dataset {found.name} with all its versions", yes=yes)
    api.delete(found.id)
    if as_json:
        emit_json({"deleted": found.id})
    else:
        click.echo(f"Deleted {found.name} ({found.id}).")


@datasets.command("verify")
@click.argument("ref")
@hub_command
def verify_dataset(hub: Transport, ref: str, *, as_json: bool) -> None:
    """Read all stored bytes of a version; ends with 1 when files are damaged.

    What has a good copy somewhere in the hub is restored; the rest by putting the files again.
    """
    api = DatasetsAPI(hub)
    with transfer(f"Reading {ref}") as progress:
        found = api.verify(ref, progress=progress)
    if as_json:
        emit_json(found)
    else:
        for damage in found.damaged:
            what = "restored" if damage.restored else "damaged"
            click.echo(f"{what}  {damage.path}  {damage.md5}  {size_text(damage.size)}")
        click.echo(f"{found.files} files, {size_text(found.bytes)}: {_summary(found)}")
    if any(not damage.restored for damage in found.damaged):
        raise SystemExit(1)


def _summary(found: Verification) -> str:
    lost = sum(not damage.restored for damage in found.damaged)
    if lost:
        return f"{lost} damaged. Put them again from where they came from."
    return f"{len(found.damaged)} restored, all is well." if found.damaged else "all is well."


@datasets.command("export-dvc")
@click.argument("ref")
@click.option(
    "--repo", type=click.Path(path_type=Path, file_okay=False), default=Path(),
    help="A DVC repository; default: this folder.",
)  # fmt: skip
@hub_command
def export_dvc(hub: Transport, ref: str, repo: Path, *, as_json: bool) -> None:
    """Write a .dvc file and a remote, so that `dvc pull` gets a version from the hub."""
    config = repo / ".dvc/config"
    if not config.parent.is_dir():
        raise NotFound(f"{repo.absolute()} is no DVC repository.", hint="Run `dvc init` there.")
    api = DatasetsAPI(hub)
    name = api.get(ref).name
    made = api.export_dvc(ref)
    file = repo / f"{name}.dvc"
    _merge(config, made.config)
    file.write_text(made.dvc_file)
    login = f'dvc remote modify --local {made.remote} password "Bearer $NABLAHUB_TOKEN"'
    if as_json:
        emit_json({"file": str(file), "remote": made.remote, "url": made.url, "login": login})
        return
    click.echo(f"Wrote {file} and the remote {made.remote} ({made.url}).")
    click.echo(f"Now give DVC your token, then pull:\n  {login}\n  dvc pull {file.name}")


def _merge(config: Path, text: str) -> None:
    """Add a remote to DVC's configuration; what else stands there stays."""
    found = configparser.ConfigParser(interpolation=None)
    found.read(config)
    new = configparser.ConfigParser(interpolation=None)
    new.read_string(text)
    for section in new.sections():
        if not found.has_section(section):
            found.add_section(section)
        for key, value in new.items(section):
            old = found.get(section, key, fallback=value)
            if section == "core" and old != value:
                continue  # Another default remote: the .dvc file below names ours by itself.
            found.set(section, key, value)
    try:
        with config.open("w") as file:
            found.write(file)
    except OSError as error:
        raise Conflict(f"{config} can't be written: {error}.") from error
