"""``nablahub datasets catalog``."""

from __future__ import annotations

from pathlib import Path

import click

from nablahub.core.console import (
    emit_fields,
    emit_json,
    emit_table,
    guarded,
    hub_command,
    json_option,
    size_text,
    stderr,
)
from nablahub.core.transport import Transport


@click.group()
def catalog() -> None:
    """Public datasets that may be added: list, show, add."""


@catalog.command("list")
@hub_command
def list_catalog(hub: Transport, *, as_json: bool) -> None:
    """List the public datasets, with their licences."""
    from nablahub.datasets.catalog.api import CatalogAPI

    found = CatalogAPI(hub).list()
    if found.warning is not None:
        stderr().print(f"! {found.warning}", style="yellow", markup=False, soft_wrap=True)
    if as_json:
        emit_json(found)
        return
    emit_table(
        {
            "name": lambda e: e.name, "title": lambda e: e.title, "licence": lambda e: e.licence,
            "needs": lambda e: None if e.offline else "network",
        },
        found.items,
    )  # fmt: skip


@catalog.command("show")
@click.argument("name")
@hub_command
def show_entry(hub: Transport, name: str, *, as_json: bool) -> None:
    """Show a public dataset: licence, source, files and their checksums."""
    from nablahub.datasets.catalog.api import CatalogAPI

    entry = CatalogAPI(hub).get(name)
    if as_json:
        emit_json(entry)
        return
    emit_fields({
        "name": entry.name, "title": entry.title, "description": entry.description or None,
        "licence": entry.licence, "source": entry.source,
        "checked by": entry.checked_by or None,
    })  # fmt: skip
    for file in entry.files:
        click.echo(f"  {file.path}  {file.url or 'ships with the hub'}  sha256 {file.sha256}")


@catalog.command("add")
@click.argument("name")
@click.option("--as", "dataset", help="Name of the dataset; default: the entry's.")
@click.option("--project", help="Id or name of the project it is shown in.")
@hub_command
def add_entry(
    hub: Transport, name: str, dataset: str | None, project: str | None, *, as_json: bool
) -> None:
    """Make a dataset of a public one; done again, nothing is fetched."""
    from nablahub.datasets.catalog.api import CatalogAPI
    from nablahub.projects.api import ProjectsAPI

    wanted = ProjectsAPI(hub).get(project).id if project else None
    made = CatalogAPI(hub).add(name, dataset=dataset, project=wanted)
    if as_json:
        emit_json(made)
        return
    emit_fields({
        "version": made.id, "dataset": made.dataset_name, "files": made.files,
        "size": size_text(made.bytes), "message": made.message, "from": made.source,
    })  # fmt: skip


@catalog.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@guarded
def check_file(file: Path, *, as_json: bool) -> None:
    """Check a FILE of public datasets: every fault is told, with its line.

    It asks no hub. Exit code 1 when the file has a fault.
    """
    from nablahub.datasets.catalog.reading import parse, read_text, shipped

    base = shipped()
    found = parse(read_text(file), str(file), base)
    new = [name for name in found if name not in base]
    if as_json:
        emit_json({"ok": True, "datasets": list(found), "new": new})
        return
    click.echo(f"{file} is sound: the catalog has {len(found)} datasets, {len(new)} of them new.")
