"""Where a command was typed: on the hub's machine, or in a terminal of one of its servers."""

from __future__ import annotations

import os
from collections.abc import Mapping

import click
from click.core import ParameterSource

from nablahub.core.errors import NablaError
from nablahub.core.state import StateDir


class InsideServer(NablaError):
    """A server of a hub sees neither the hub's state directory nor its processes."""

    code = "inside_server"
    title = "This is a server of a hub"


def refuse_inside_server(state: StateDir) -> None:
    """Refuse a command that needs the hub's own machine when a terminal in Lab ran it.

    Somebody who names a state directory, or has one here, means that one.

    Parameters
    ----------
    state : StateDir
        The one that the command is about.

    Raises
    ------
    InsideServer
        Naming the hub whose server this is.
    """
    if is_named():
        return
    hub = hub_of_server(os.environ)
    if hub is None or state.config.exists():
        return
    context = click.get_current_context()
    raise InsideServer(
        f"This terminal belongs to a server of a hub ({hub}); "
        f"`nablahub {context.info_name}` is for a terminal of the hub's own machine.",
        hint="Here, use the other commands (`nablahub --help`): they talk to that hub.",
    )


def is_named() -> bool:
    """Whether the running command's state directory was named, by a flag or by the environment."""
    context = click.get_current_context()
    flag = context.get_parameter_source("state") is ParameterSource.COMMANDLINE
    return flag or "NABLAHUB_STATE_DIR" in os.environ


def hub_of_server(environment: Mapping[str, str]) -> str | None:
    """Return the URL of the hub, else of its service, whose server has this environment."""
    service = environment.get("NABLAHUB_URL")
    if not service or not environment.get("JUPYTERHUB_API_TOKEN"):
        return None
    return environment.get("JUPYTERHUB_PUBLIC_HUB_URL") or service
