"""``nablahub datasets``."""

from __future__ import annotations

import configparser
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nablahub.core.console import (
    emit_fields,
    emit_json,
    emit_table,
    hub_command,
    size_text,
    transfer,
)
from nablahub.core.errors import Conflict, NotFound
from nablahub.core.transport import Transport
from nablahub.datasets.catalog.cli import catalog
from nablahub.datasets.cli_versions import (
    api_of,
    commit,
    delete,
    diff,
    gc,
    lineage,
    restore,
    tag,
    verify,
)
from nablahub.datasets.errors import NameTaken, NoSuchDataset
from nablahub.datasets.fetching import file_target
from nablahub.datasets.reading import DatasetReader
from nablahub.datasets.sending import Sender

# The client's types are loaded by the commands that need them: `put` and `get`, which run in
# loops over folders, do not.
if TYPE_CHECKING:
    from nablahub.datasets.types import Dataset, DatasetVersion


def download_options[F: Callable[..., Any]](function: F) -> F:
    """Give a command what a download of versioned files takes."""
    force = click.option("--force", is_flag=True, help="Overwrite files that differ.")
    one = click.option("--path", help="Only this file: to the name TARGET, or into that folder.")
    target = click.argument("target", required=False, type=click.Path(path_type=Path))
    return click.argument("ref")(target(one(force(function))))


def show_download(version: str, target: Path, *, as_json: bool) -> None:
    """Say where a version was put, or the one file of it that ``--path`` named."""
    path = click.get_current_context().params.get("path")
    if path is not None:
        target = file_target(target, path)
    if as_json:
        emit_json({"version": version, "target": str(target.absolute())})
    else:
        what = version if path is None else f"{path} of {version}"
        click.echo(f"{what} is in {target}.")


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
        "description": dataset.description or None, "public": "yes" if dataset.public else None,
        "latest": latest.id if latest else None,
        "files": latest.files if latest else None,
        "size": size_text(latest.bytes) if latest else None,
        "created": dataset.created_at, "by": dataset.created_by,
    })  # fmt: skip


def _show_version(version: DatasetVersion, *, as_json: bool) -> None:
    _show_made(version.model_dump(mode="json"), as_json=as_json)


def _project(hub: Transport, project: str | None) -> str | None:
    if project is None:
        return None
    from nablahub.projects.api import ProjectsAPI

    return ProjectsAPI(hub).get(project).id


@datasets.command("list")
@click.option("--project", help="Id or name; only its datasets.")
@hub_command
def list_datasets(hub: Transport, project: str | None, *, as_json: bool) -> None:
    """List your datasets."""
    rows = list(api_of(hub).list(project=_project(hub, project)))
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
    made = api_of(hub).create(
        name, project=_project(hub, project), description=description, storage=storage
    )
    _show(made, as_json=as_json)


@datasets.command("update")
@click.argument("dataset")
@click.option("--name", help="A new name; its id stays.")
@click.option("--description", help="What it holds (Markdown).")
@click.option("--public/--private", default=None, help="Whether everybody may read it.")
@hub_command
def update_dataset(hub: Transport, dataset: str, *, as_json: bool, **fields: Any) -> None:
    """Change what is told of a dataset, and who may read it; its versions never change."""
    api = api_of(hub)
    given = {name: value for name, value in fields.items() if value is not None}
    if not given:
        raise click.UsageError("Say what to change: --name, --description, --public or --private.")
    _show(api.change(api.get(dataset), **given), as_json=as_json)


@datasets.command("show")
@click.argument("ref")
@hub_command
def show_dataset(hub: Transport, ref: str, *, as_json: bool) -> None:
    """Show a dataset, or with REF:VERSION one version of it."""
    api = api_of(hub)
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
@click.option("--again", is_flag=True, help="Make a version even when nothing changed.")
@click.option("--unpack", is_flag=True, help="Commit what is in SOURCE, a zip or tar archive.")
@hub_command
def put(
    hub: Transport, dataset: str, source: Path, *, as_json: bool, unpack: bool, **given: Any
) -> None:
    """Commit a folder or file as a new version; sends only what the hub lacks."""
    name, colon, _ = dataset.partition(":")
    if colon:
        raise click.UsageError(f"put takes a dataset, not a version: '{name}', not '{dataset}'.")
    with _content(source, unpack=unpack) as tree:
        if given["create"]:
            _ensure(hub, dataset, given["project"])
        with transfer(f"Uploading {source.name}") as report:
            sender = _Noting(hub, dataset, report)
            try:
                made = sender.send(tree, message=given["message"], again=given["again"])
            except NoSuchDataset as error:
                if "/" not in dataset:  # Nobody makes a dataset in another's place.
                    error.hint = f"--create makes it. {error.hint}"
                raise
    _show_made(made, as_json=as_json)
    if made["id"] == sender.before:
        click.echo(
            "Nothing changed since this version: none was made (--again makes one).", err=True
        )
    elif not made["files"]:
        click.echo(f"This version is empty: there is no file in {source}.", err=True)


class _Noting(Sender):
    """A sender that keeps which version was there before: asking the hub twice takes time."""

    before: str | None = None

    def _latest(self) -> dict[str, Any] | None:
        found = super()._latest()
        self.before = None if found is None else found["id"]
        return found


def _content(source: Path, *, unpack: bool) -> AbstractContextManager[Path]:
    """Return what is to be put: the source, or what is packed in it."""
    if not unpack:
        return nullcontext(source)
    from nablahub.datasets.unpacked import unpacked

    return unpacked(source)


def _ensure(hub: Transport, name: str, project: str | None) -> None:
    """Make a dataset of that name unless there is one."""
    wanted = _project(hub, project)
    try:
        hub.post("/datasets", {"name": name, "project": wanted})
    except NameTaken:
        if wanted is not None:
            api_of(hub).ensure(name, project=wanted)


def _show_made(made: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(made)
        return
    emit_fields({
        "version": made["id"], "dataset": made["dataset_name"], "number": made["number"],
        "files": made["files"], "size": size_text(made["bytes"]),
        "message": made["message"] or None, "from": made["source"], "by": made["author"],
        "created": datetime.fromisoformat(made["created_at"]),
    })  # fmt: skip


@datasets.command("get")
@download_options
@hub_command
def get(
    hub: Transport, ref: str, target: Path | None, path: str | None, force: bool, *, as_json: bool
) -> None:
    """Download a version into a folder (default: one of the dataset's name).

    Files that are there already and differ are left alone: nothing is downloaded then.
    """
    reader = DatasetReader(hub)
    version = reader.version_fields(ref)
    target = target or Path((path or version["dataset_name"]).rpartition("/")[2])
    with transfer(f"Downloading {ref}") as report:
        reader.fetch(version["id"], target, path=path, progress=report, overwrite=force)
    show_download(version["id"], target, as_json=as_json)


@datasets.command("ls")
@click.argument("ref")
@click.argument("prefix", default="")
@hub_command
def ls(hub: Transport, ref: str, prefix: str, *, as_json: bool) -> None:
    """List the files of a version."""
    rows = api_of(hub).files(ref, prefix=prefix)
    first = next(rows, None)
    if first is None and prefix:
        raise NotFound(
            f"There is no folder '{prefix}' in {ref}, nor a file whose path begins so.",
            hint=f"`nablahub datasets ls {ref}` shows all files.",
        )
    rows = chain(() if first is None else (first,), rows)
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
    api = api_of(hub)
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
    rows = list(api_of(hub).versions(dataset))
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


for _command in (commit, tag, diff, verify, lineage, delete, restore, gc, catalog):
    datasets.add_command(_command)


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
    api = api_of(hub)
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
