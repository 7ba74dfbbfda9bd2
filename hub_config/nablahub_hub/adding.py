"""Adds to what a JupyterHub configuration says already, and takes nothing away."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.resources import files
from itertools import pairwise
from typing import Any, Final

from traitlets.config import Config

from nablahub_hub.scopes import (
    CULLER,
    CUSTOM_SCOPES,
    SERVER_SCOPES,
    SERVICE,
    USER_SCOPES,
    merge,
)
from nablahub_hub.settings import NablaHub, given

#: The hub starts beside a service that something else keeps alive, and must not wait for it.
EXTERNAL: Final[Mapping[str, Any]] = {"timeout": 1}

#: Ten years, in seconds.
NEVER: Final = 10 * 365 * 86400
#: What jupyterhub-idle-culler takes where it is told no ``--timeout``, in seconds.
OTHERS_DEFAULT: Final = "600"


def extend(section: Config, name: str, items: list[Any]) -> None:
    """Add items to an option that is a list."""
    before = list(section[name]) if given(section, name) else []
    section[name] = before + items


def add_pages(hub: Config) -> None:
    """Add our pages, and the scopes that they and the service speak of."""
    extend(hub, "template_paths", [str(files("nablahub_hub") / "templates")])
    custom = dict(hub.custom_scopes) if given(hub, "custom_scopes") else {}
    hub.custom_scopes = {**CUSTOM_SCOPES, **custom}


def service_entry(url: str, token: str, kept_alive: Mapping[str, Any] = EXTERNAL) -> dict[str, Any]:
    """Return the hub service as an entry of ``c.JupyterHub.services``.

    Parameters
    ----------
    url, token : str
        Where it listens, and the token that the hub gives it.
    kept_alive : mapping
        How the hub keeps it alive; by default something else does.
    """
    return {
        "name": SERVICE,
        "url": url,
        "api_token": token,
        "oauth_no_confirm": True,
        "display": False,
        **kept_alive,
    }


def culler_entry(settings: NablaHub, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the idle culler as an entry of ``c.JupyterHub.services``.

    Where idle servers are not stopped it keeps the limits of instance types alone.
    """
    timeout = settings.idle_timeout if settings.idle_culler else NEVER
    every = min(settings.idle_check_interval, max(1, timeout // 10))
    return {
        "name": CULLER,
        "environment": dict(environment),
        "command": [
            *(sys.executable, "-m", "nablahub_hub.culler"),
            f"--timeout={timeout}",
            f"--cull-every={every}",
        ],
    }


def others_idle_timeout(hub: Config) -> int:
    """Return after how many idle seconds a culler that is not ours stops servers; 0: there is none.

    zero-to-jupyterhub runs one, as do many hubs:
    https://github.com/jupyterhub/jupyterhub-idle-culler#as-a-hub-managed-service
    """
    found = []
    for service in hub.services if given(hub, "services") else []:
        words = [str(word) for word in service.get("command") or ()]
        if any("idle_culler" in word or "idle-culler" in word for word in words):
            options = " ".join(words).replace("=", " ").split()
            named = [after for name, after in pairwise(options) if name == "--timeout"]
            found += [int(text) for text in named or [OTHERS_DEFAULT] if text.isdecimal()]
    return min(found, default=0)


def add_roles(hub: Config, roles: list[dict[str, Any]]) -> None:
    """Add our scopes to the roles of users and servers, and roles of our services."""
    specs = list(hub.load_roles) if given(hub, "load_roles") else []
    if not merge(specs, "user", USER_SCOPES):
        before = set(hub.extra_user_scopes) if given(hub, "extra_user_scopes") else set()
        hub.extra_user_scopes = before | set(USER_SCOPES)
    if not merge(specs, "server", SERVER_SCOPES):
        specs.append({"name": "server", "scopes": list(SERVER_SCOPES)})
    hub.load_roles = specs + roles
