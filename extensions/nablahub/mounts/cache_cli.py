"""``nablahub cache``."""

from __future__ import annotations

from typing import Any

import click

from nablahub.core.console import emit_json, emit_table, hub_command, size_text
from nablahub.core.quantities import quantity
from nablahub.core.transport import Transport
from nablahub.mounts.api import CacheAPI


def _size(_ctx: click.Context, _option: click.Parameter, text: str | None) -> int | None:
    """Read a quantity as Kubernetes writes it."""
    try:
        return int(quantity(text)) if text is not None else None
    except ValueError:
        raise click.BadParameter(f"{text!r} is no size such as 500Mi or 10G.") from None


@click.group()
def cache() -> None:
    """Versions that lie ready to be read; for administrators."""


_COLUMNS = {
    "version": lambda t: t.place, "size": lambda t: size_text(t.bytes),
    "used": lambda t: t.used_at, "read by": lambda t: ", ".join(t.users) or None,
}  # fmt: skip


def _of(limit: int | None) -> str:
    return f" of {size_text(limit)}" if limit is not None else ""


@cache.command("list")
@hub_command
def list_cache(hub: Transport, *, as_json: bool) -> None:
    """List what is in the cache, the longest unused first."""
    found = CacheAPI(hub).list()
    if as_json:
        emit_json(found)
        return
    emit_table(_COLUMNS, found.items)
    click.echo(f"{size_text(found.bytes)}{_of(found.limit)} used.")


@cache.command()
@click.option("--to", callback=_size, help="What may stay, such as 10Gi; default: the setting.")
@click.option("--dry-run", is_flag=True, help="Only tell what would go.")
@hub_command
def prune(hub: Transport, to: int | None, dry_run: bool, *, as_json: bool) -> None:
    """Take out what nobody reads, the longest unused first, until the rest is small enough."""
    found = CacheAPI(hub).prune(to=to, dry_run=dry_run)
    if as_json:
        emit_json(found)
        return
    emit_table({name: _COLUMNS[name] for name in ("version", "size", "used")}, found.items)
    verb = "would go" if dry_run else "went"
    left = f"{size_text(found.left)}{_of(found.limit)} is used"
    click.echo(f"{len(found.items)} {verb} ({size_text(found.bytes)}); {left} then.")


@cache.command()
@click.option("--repair", is_flag=True, help="Make damaged trees that nobody reads again.")
@hub_command
def verify(hub: Transport, repair: bool, *, as_json: bool) -> None:
    """Read all files in the cache; ends with 1 when some are damaged and not repaired."""
    found = list(CacheAPI(hub).verify(repair=repair))
    bad = [tree for tree in found if tree.count]
    if as_json:
        emit_json(found)
    for tree in [] if as_json else bad:
        files = ", ".join(tree.damaged[:5]) + (" …" if tree.count > 5 else "")
        click.echo(f"{tree.place}: {tree.count} damaged ({files}). {_outcome(tree, repair)}")
    if not as_json:
        click.echo(f"{len(found)} versions, {sum(tree.files for tree in found)} files read.")
    if any(not tree.repaired for tree in bad):
        raise SystemExit(1)


def _outcome(tree: Any, repair: bool) -> str:
    if tree.repaired:
        return "It was made again."
    if tree.users:
        return f"It is read by {', '.join(tree.users)}: repair it when that has ended."
    if repair:
        version = tree.place.partition("/")[2].replace("-", ":", 1)
        return f"Its stored bytes are damaged, too: `nablahub datasets verify {version}`."
    return "Run it with --repair."
