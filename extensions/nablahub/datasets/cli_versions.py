"""``nablahub datasets`` on versions: commit, tag, diff, verify, lineage, delete, gc."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
from nablahub.core.errors import Conflict, Fault, Invalid
from nablahub.core.transport import Transport

if TYPE_CHECKING:
    from nablahub.datasets.api import DatasetsAPI
    from nablahub.datasets.types import Verification


def api_of(hub: Transport) -> DatasetsAPI:
    """Return the client; its types are loaded by the commands that need them alone."""
    from nablahub.datasets.api import DatasetsAPI

    return DatasetsAPI(hub)


def _pair(text: str) -> tuple[str, str]:
    left, equals, right = text.partition("=")
    if not equals or not left or not right:
        raise Invalid(f"'{text}' is not two parts with '=' between them.", hint="See --help.")
    return left, right


@click.command()
@click.argument("dataset")
@click.option("--add", "adds", multiple=True, metavar="PATH=FILE", help="Put a file there.")
@click.option("--rm", "removes", multiple=True, metavar="PATH", help="Take a file out.")
@click.option("--mv", "moves", multiple=True, metavar="OLD=NEW", help="Give it another path.")
@click.option("-m", "--message", default="", help="What is new in this version.")
@click.option("--no-rebase", is_flag=True, help="Only if nobody committed meanwhile.")
@hub_command
def commit(
    hub: Transport,
    dataset: str,
    adds: tuple[str, ...],
    removes: tuple[str, ...],
    moves: tuple[str, ...],
    message: str,
    no_rebase: bool,
    *,
    as_json: bool,
) -> None:
    """Make a version in which some files differ from the latest; the others are not touched."""
    if not adds and not removes and not moves:
        raise Invalid("Nothing is to be changed.", hint="Use --add, --rm or --mv.")
    files = [(path, Path(file)) for path, file in map(_pair, adds)]
    for _, file in files:
        if not file.is_file():
            raise Invalid(f"{file} is not a file.", hint="Give --add PATH=FILE.")
    with api_of(hub).draft(dataset, message=message) as draft:
        for old, new in map(_pair, moves):
            draft.rename(old, new)
        for path in removes:
            draft.remove(path)
        for path, file in files:
            draft.put(path, file, executable=bool(file.stat().st_mode & 0o100))
        made = draft.commit(rebase=not no_rebase)
    if as_json:
        emit_json(made)
    else:
        click.echo(f"{made.id} ({made.files} files, {size_text(made.bytes)})")


@click.command()
@click.argument("ref")
@click.argument("name", required=False)
@click.option("--delete", "removed", is_flag=True, help="Delete the tag.")
@click.option("--expected", help="Only if it stands for this version now.")
@hub_command
def tag(
    hub: Transport,
    ref: str,
    name: str | None,
    removed: bool,
    expected: str | None,
    *,
    as_json: bool,
) -> None:
    """List the tags of a dataset, or set or move NAME to the version REF."""
    if removed and name is None:  # `tag digits:gold --delete`, as versions are deleted.
        ref, _, name = ref.partition(":")
        if not name:
            raise click.UsageError("Say which tag: `nablahub datasets tag DATASET NAME --delete`.")
    api = api_of(hub)
    if name is None:
        rows = list(api.tags(ref))
        if as_json:
            emit_json(rows)
        else:
            emit_table(
                {"tag": lambda t: t.name, "version": lambda t: t.version,
                 "by": lambda t: t.set_by, "since": lambda t: t.set_at}, rows,
            )  # fmt: skip
    elif removed:
        api.untag(ref, name)
        emit_json({"deleted": name}) if as_json else click.echo(f"Deleted the tag {name}.")
    else:
        made = api.tag(ref, name, expected=expected)
        emit_json(made) if as_json else click.echo(f"{made.name} is {made.ref}.")


@click.command()
@click.argument("old")
@click.argument("new", required=False)
@hub_command
def diff(hub: Transport, old: str, new: str | None, *, as_json: bool) -> None:
    """List the files that differ between two versions of a dataset (default: the latest)."""
    rows = api_of(hub).diff(old, new or old.partition(":")[0])
    if as_json:
        emit_json(list(rows))
        return
    marks = {"added": "+", "removed": "-", "changed": "~"}
    for row in rows:
        size = row.size if row.size is not None else row.old_size
        click.echo(f"{marks[row.change]} {size_text(size or 0):>10}  {row.path}")


@click.command()
@click.argument("ref")
@click.argument("folder", required=False, type=click.Path(path_type=Path, exists=True))
@hub_command
def verify(hub: Transport, ref: str, folder: Path | None, *, as_json: bool) -> None:
    """Read all stored bytes of a version; ends with 1 when files are damaged.

    What has a good copy somewhere in the hub is restored; the rest by putting the files again.
    With FOLDER, compare the files there with the version instead.
    """
    if folder is not None:
        _compare(hub, ref, folder, as_json=as_json)
        return
    with transfer(f"Reading {ref}") as progress:
        found = api_of(hub).verify(ref, progress=progress)
    if as_json:
        emit_json(found)
    else:
        for damage in found.damaged:
            what = "restored" if damage.restored else "damaged"
            click.echo(f"{what}  {damage.path}  {damage.md5}  {size_text(damage.size)}")
        for sharer in found.sharing:
            shown = ", ".join(sharer.paths[:2]) + (", …" if sharer.files > 2 else "")
            name = f"{sharer.dataset_name}:{sharer.version.partition(':')[2]}"
            count = "1 file" if sharer.files == 1 else f"{sharer.files} files"
            click.echo(f"shared by  {name}  {count}: {shown}")
        click.echo(f"{found.files} files, {size_text(found.bytes)}: {_summary(found)}")
    if any(not damage.restored for damage in found.damaged):
        raise SystemExit(1)


def _summary(found: Verification) -> str:
    lost = sum(not damage.restored for damage in found.damaged)
    if lost:
        also = f" Other versions that share them: {len(found.sharing)}." if found.sharing else ""
        return f"{lost} damaged.{also} Put them again from where they came from."
    return f"{len(found.damaged)} restored, all is well." if found.damaged else "all is well."


def _compare(hub: Transport, ref: str, folder: Path, *, as_json: bool) -> None:
    with transfer(f"Reading {folder}") as report:
        wrong = api_of(hub).differing(ref, folder, progress=report)
    if wrong:
        count = "1 file is" if len(wrong) == 1 else f"{len(wrong)} files are"
        raise Conflict(
            f"{count} not in {folder} as in {ref}.",
            hint="Get them again with `nablahub datasets get --force`.",
            errors=[Fault(path) for path in wrong],
        )
    if as_json:
        emit_json({"ref": ref, "folder": str(folder), "differing": []})
    else:
        click.echo(f"All files of {ref} are in {folder}.")


@click.command()
@click.argument("ref")
@hub_command
def lineage(hub: Transport, ref: str, *, as_json: bool) -> None:
    """Show where a version came from, and what came of it."""
    found = api_of(hub).lineage(ref)
    if as_json:
        emit_json(found)
        return
    emit_fields({
        "from": found.source, "before": found.parent,
        "made from": ", ".join(found.inputs) or None,
        "after": ", ".join(found.children) or None,
        "made of it": ", ".join(found.outputs) or None,
        "used by": ", ".join(found.used_by) or None,
    })  # fmt: skip


@click.command()
@click.argument("dataset")
@yes_option
@hub_command
def delete(hub: Transport, dataset: str, yes: bool, *, as_json: bool) -> None:
    """Delete a dataset with all its versions, or with REF:VERSION one version of it."""
    api = api_of(hub)
    if ":" in dataset:
        version = api.version(dataset)
        api.delete_version(version.id)
        if as_json:
            emit_json({"deleted": version.id})
        else:
            click.echo(
                f"Deleted {version.id}; `nablahub datasets restore {version.id}` takes it back."
            )
        return
    found = api.get(dataset)
    confirm_deletion(f"the dataset {found.name} with all its versions", yes=yes)
    api.delete(found.id)
    if as_json:
        emit_json({"deleted": found.id})
    else:
        click.echo(f"Deleted {found.name} ({found.id}).")


@click.command()
@click.argument("ref")
@hub_command
def restore(hub: Transport, ref: str, *, as_json: bool) -> None:
    """Take a deleted version back, as long as its bytes have not been collected."""
    found = api_of(hub).restore(ref)
    emit_json(found) if as_json else click.echo(f"{found.id} is back.")


@click.command()
@click.argument("dataset")
@click.option("--run", "really", is_flag=True, help="Really do it; without, only say what.")
@click.option("--undo", is_flag=True, help="Keep what was to go.")
@hub_command
def gc(hub: Transport, dataset: str, really: bool, undo: bool, *, as_json: bool) -> None:
    """Show the files that only deleted versions hold; with --run, let them go in a week.

    What another version, a model or an upload that goes on needs is left alone.
    """
    if really and undo:
        raise click.UsageError("--run lets files go and --undo keeps them: give one of the two.")
    found = api_of(hub).collect(dataset, really=really, undo=undo)
    if as_json:
        emit_json(found)
        return
    if undo:
        click.echo(f"Kept after all: {', '.join(found.versions) or 'nothing was to go'}.")
        return
    for file in found.files:
        click.echo(f"{size_text(file.size):>10}  {file.version}  {file.path}")
    files = "1 file" if found.count == 1 else f"{found.count} files"
    versions = "1 version" if len(found.versions) == 1 else f"{len(found.versions)} versions"
    click.echo(f"{files}, {size_text(found.bytes)}, of {versions}.")
    if found.until is not None:
        click.echo(f"They go on {found.until:%Y-%m-%d %H:%M} UTC; --undo keeps them until then.")
    elif found.count:
        click.echo("Nothing was changed; --run lets them go.")
