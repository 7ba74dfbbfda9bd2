"""``nablahub datasets mount``, ``mounts``, ``sync`` and ``unmount``."""

from __future__ import annotations

import click

from nablahub.core.console import emit_json, emit_table, hub_command, size_text, stderr
from nablahub.core.transport import Transport
from nablahub.mounts.api import MountsAPI
from nablahub.mounts.types import S3

_server = click.option("--server", help="A named server; default: this one, else the default one.")


def _tell(words: str) -> None:
    stderr().print(words, markup=False)


@click.command()
@click.argument("ref")
@click.argument("name", required=False)
@click.option("--rw", is_flag=True, help="What is written there comes into the bucket.")
@click.option("--replace", is_flag=True, help="Also when NAME shows another dataset.")
@_server
@hub_command
def mount(
    hub: Transport,
    ref: str,
    name: str | None,
    rw: bool,
    replace: bool,
    server: str | None,
    *,
    as_json: bool,
) -> None:
    """Show a version or a bucket in /datasets of a running server.

    REF is DATASET[:VERSION], or s3:PROVIDER[/FOLDER] for a folder of a bucket. NAME is what it is
    called there; default: the dataset's name, with @VERSION when REF says which; the folder's.
    """
    if rw and not ref.startswith(S3):
        raise click.UsageError(f"A version is always read-only: --rw is for {S3}PROVIDER/FOLDER.")
    made = MountsAPI(hub).mount(
        ref, name, server=server, replace=replace, read_only=not rw, tell=_tell
    )
    if as_json:
        emit_json(made)
    elif made.state == "Stopped":
        click.echo(f"{made.source} will be at {made.path} when its server runs.")
    else:
        click.echo(f"{made.source} is at {made.path}.")


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
            "path": lambda m: m.path, "shows": lambda m: m.source,
            "mode": lambda m: "ro" if m.read_only else "rw",
            "files": lambda m: m.files if m.bucket is None else None,
            "size": lambda m: size_text(m.bytes) if m.bucket is None else None,
            "state": lambda m: m.state, "message": lambda m: m.unsent or m.message or None,
        },
        rows,
    )  # fmt: skip


@click.command()
@click.argument("name")
@_server
@hub_command
def sync(hub: Transport, name: str, server: str | None, *, as_json: bool) -> None:
    """Write what was changed in a mounted bucket to it now."""
    done = MountsAPI(hub).send(name, server=server, tell=_tell)
    if as_json:
        emit_json(done)
    else:
        click.echo(f"What was written in {done.path} is in {done.source}.")


@click.command()
@click.argument("name")
@click.option("--discard", is_flag=True, help="Also when what was written to a bucket is lost.")
@_server
@hub_command
def unmount(hub: Transport, name: str, discard: bool, server: str | None, *, as_json: bool) -> None:
    """Show something in /datasets no more; what was written to a bucket is brought there first."""
    gone = MountsAPI(hub).unmount(name, server=server, discard=discard, tell=_tell)
    if as_json:
        emit_json({"unmounted": gone.path})
    else:
        click.echo(f"{gone.path} is unmounted.")
