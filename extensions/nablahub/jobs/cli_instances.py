"""``nablahub instances``."""

from __future__ import annotations

from pathlib import Path

import click

from nablahub.core.console import (
    emit_json,
    emit_table,
    guarded,
    hub_command,
    json_option,
    stderr,
)
from nablahub.core.instances import CATALOGUE, parse, read_text
from nablahub.core.transport import Transport
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.types import InstanceTypeInfo


@click.group()
def instances() -> None:
    """Look at instance types, and check a file of them."""


@instances.command("list")
@click.option("--all", "everything", is_flag=True, help="Also those that cannot be had.")
@hub_command
def list_instances(hub: Transport, *, everything: bool, as_json: bool) -> None:
    """List the instance types that servers and jobs may be given."""
    found = JobsAPI(hub).instance_types()
    if found.warning is not None:
        stderr().print(f"! {found.warning}", style="yellow", markup=False, soft_wrap=True)
    if as_json:
        emit_json(found)
        return
    shown = [kind for kind in found.items if everything or kind.available]
    columns = {
        "name": lambda k: k.name, "gives": lambda k: k.summary,
        "$/h": lambda k: None if k.price is None else f"{k.price:g}",
        "limits": _limits, "starts": _starts,
    }  # fmt: skip
    if everything:
        columns["starts"] = lambda k: k.reason or _starts(k)
    emit_table(columns, shown)
    if len(shown) < len(found.items):
        rest = len(found.items) - len(shown)
        stderr().print(f"{rest} more cannot be had: --all shows them, and why.", style="dim")


def _starts(kind: InstanceTypeInfo) -> str:
    return "at once" if kind.free else "when others end"


def _limits(kind: InstanceTypeInfo) -> str | None:
    parts = []
    if kind.max_hours is not None:
        parts.append(f"{kind.max_hours:g} h")
    if kind.idle_minutes is not None:
        parts.append(f"{kind.idle_minutes:g} min idle")
    return ", ".join(parts) or None


@instances.command("check")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@guarded
def check_file(file: Path, *, as_json: bool) -> None:
    """Check a FILE of instance types: every fault is told, with its line.

    It asks no hub. Exit code 1 when the file has a fault.
    """
    types = parse(read_text(file), str(file))
    new = [name for name in types if name not in CATALOGUE]
    changed = [name for name in types if name in CATALOGUE and types[name] != CATALOGUE[name]]
    gone = [name for name in CATALOGUE if name not in types]
    if as_json:
        emit_json({
            "ok": True, "types": list(types), "new": new, "changed": changed, "not_offered": gone,
        })  # fmt: skip
        return
    click.echo(f"{file} is sound: {len(types)} instance types are offered.")
    for names, words in ((new, "New"), (changed, "Changed"), (gone, "Not offered")):
        if names:
            click.echo(f"{words}: {', '.join(names)}.")
