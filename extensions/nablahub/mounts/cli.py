"""``nablahub datasets mount``, ``mounts`` and ``unmount``."""

from __future__ import annotations

import click

from nablahub.core.console import emit_json, emit_table, hub_command, size_text
from nablahub.core.transport import Transport
from nablahub.mounts.api import MountsAPI

_server = click.option("--server", help="A named server; default: this one, else the default one.")


@click.command()
@click.argument("ref")
@click.argument("name", required=False)
@click.option("--replace", is_flag=True, help="Also when NAME shows another dataset.")
@_server
@hub_command
def mount(
    hub: Transport,
    ref: str,
    name: str | None,
    replace: bool,
    server: str | None,
    *,
    as_json: bool,
) -> None:
    """Show a version in /datasets of a running server, read-only.

    NAME is what it is called there; default: the dataset's name, with @VERSION when REF says which.
    """
    made = MountsAPI(hub).mount(ref, name, server=server, replace=replace)
    if as_json:
        emit_json(made)
    else:
        click.echo(f"{made.version} is at {made.path}.")


@click.command()
@_server
@hub_command
def mounts(hub: Transport, server: str | None, *, as_json: bool) -> None:
    """List what a server shows in /datasets."""
    rows = list(MountsAPI(hub).list(server=server))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "path": lambda m: m.path, "version": lambda m: m.version,
            "files": lambda m: m.files, "size": lambda m: size_text(m.bytes),
            "state": lambda m: m.state, "message": lambda m: m.message or None,
        },
        rows,
    )  # fmt: skip


@click.command()
@click.argument("name")
@_server
@hub_command
def unmount(hub: Transport, name: str, server: str | None, *, as_json: bool) -> None:
    """Show a version in /datasets no more."""
    gone = MountsAPI(hub).unmount(name, server=server)
    if as_json:
        emit_json({"unmounted": gone.path})
    else:
        click.echo(f"{gone.path} is unmounted.")
