"""``nablahub teams``."""

from __future__ import annotations

import click

from nablahub.core.console import emit_json, emit_table, hub_command
from nablahub.core.transport import Transport
from nablahub.teams.api import TeamsAPI


@click.group()
def teams() -> None:
    """Teams you belong to."""


@teams.command("list")
@hub_command
def list_teams(hub: Transport, *, as_json: bool) -> None:
    """List your teams."""
    rows = list(TeamsAPI(hub).list())
    if as_json:
        emit_json(rows)
        return
    emit_table({"name": lambda t: t.name, "kind": lambda t: t.kind, "id": lambda t: t.id}, rows)
