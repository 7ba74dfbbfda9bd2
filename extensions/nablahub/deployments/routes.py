"""Traefik's routes of all deployments: a pure builder, and an atomic writer.

Traefik reads every file of its folder and takes up a change by itself. JSON is YAML, so the file
is written as JSON. Source: Traefik v3, file provider and dynamic configuration reference.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

#: The hub's own route takes "/" with the length of its rule as its priority.
PRIORITY: Final = 100_000
ENTRY_POINT: Final = "http"
#: Sent by the prober alone: leads to the servers of a version that has no traffic yet.
CANARY_HEADER: Final = "X-Nablahub-Canary"
VERSION_HEADER: Final = "X-Nablahub-Deployment-Version"
PREFIX: Final = "/deployments"

_GUARD = "nablahub-deployments"
_NOBODY = "nablahub-no-deployment"


@dataclass(frozen=True)
class Backend:
    """Servers of one spec version.

    Parameters
    ----------
    version : int
        The spec version.
    addresses : tuple of str
        ``host:port`` of each server that gets traffic; none: 503.
    """

    version: int
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Route:
    """What Traefik is to do with one deployment's address.

    Parameters
    ----------
    deployment_id : str
        Names the address.
    main : Backend or None
        Where everybody goes; None: nobody is served.
    canary : Backend or None
        Where the prober goes.
    canary_secret : str
        What the prober says to get there.
    """

    deployment_id: str
    main: Backend | None = None
    canary: Backend | None = None
    canary_secret: str = ""


def endpoint(url: str, deployment_id: str) -> str:
    """Return the address of a deployment below the URL of the proxy, or of what is before it."""
    return f"{url.rstrip('/')}{PREFIX}/{deployment_id}"


def build(routes: Iterable[Route], *, otherwise: str | None = None) -> dict[str, Any]:
    """Return the dynamic configuration; empty when there is nothing to route.

    Parameters
    ----------
    routes : iterable of Route
        What to route.
    otherwise : str or None
        Who answers where no deployment is, such as ``http://127.0.0.1:8002``; None: whoever has
        the rest of the addresses.
    """
    routers: dict[str, Any] = {}
    services: dict[str, Any] = {}
    middlewares: dict[str, Any] = {}
    for route in routes:
        name = f"deployment-{route.deployment_id}"
        strip = f"{name}-strip"
        middlewares[strip] = {"stripPrefix": {"prefixes": [f"{PREFIX}/{route.deployment_id}"]}}
        main = route.main or Backend(0, ())
        _add(routers, services, middlewares, name, _rule(route.deployment_id), main, 0)
        if route.canary is not None:
            secret = f"Header(`{CANARY_HEADER}`, `{route.canary_secret}`)"
            rule = f"{_rule(route.deployment_id)} && {secret}"
            _add(routers, services, middlewares, f"{name}-canary", rule, route.canary, 1)
    if routers:
        middlewares[_GUARD] = {"headers": _GUARD_HEADERS}
    if otherwise is not None:
        routers[_NOBODY] = {
            "entryPoints": [ENTRY_POINT],
            "rule": f"Path(`{PREFIX}`) || PathPrefix(`{PREFIX}/`)",
            "priority": PRIORITY - 1,
            "service": _NOBODY,
        }
        services[_NOBODY] = {"loadBalancer": {"servers": [{"url": otherwise}]}}
    if not routers:
        return {}
    if not middlewares:  # Traefik takes no empty mapping.
        return {"http": {"routers": routers, "services": services}}
    return {"http": {"routers": routers, "services": services, "middlewares": middlewares}}


#: The hub's cookies never reach a model, and what a model answers gets no rights in a browser.
_GUARD_HEADERS: Final = {
    "customRequestHeaders": {"Cookie": "", CANARY_HEADER: ""},
    "customResponseHeaders": {
        "Content-Security-Policy": "sandbox allow-scripts",
        "X-Content-Type-Options": "nosniff",
        "Set-Cookie": "",
        "Service-Worker-Allowed": "",
        "Clear-Site-Data": "",
    },
}


def _rule(deployment_id: str) -> str:
    path = f"{PREFIX}/{deployment_id}"
    return f"(Path(`{path}`) || PathPrefix(`{path}/`))"


def _add(
    routers: dict[str, Any],
    services: dict[str, Any],
    middlewares: dict[str, Any],
    name: str,
    rule: str,
    backend: Backend,
    above: int,
) -> None:
    strip = f"{name.removesuffix('-canary')}-strip"
    stamp = f"{name}-version"
    middlewares[stamp] = {
        "headers": {"customResponseHeaders": {VERSION_HEADER: str(backend.version)}}
    }
    routers[name] = {
        "entryPoints": [ENTRY_POINT],
        "rule": rule,
        "priority": PRIORITY + above,
        "middlewares": [_GUARD, stamp, strip],
        "service": name,
    }
    servers = [{"url": f"http://{address}"} for address in backend.addresses]
    services[name] = {"loadBalancer": {"servers": servers, "passHostHeader": True}}


def write(path: Path, configuration: dict[str, Any]) -> bool:
    """Replace the file when its content differs; return whether it did.

    The new content appears under a name that Traefik doesn't read, then takes the old one's place
    whole: Traefik drops a file it can't parse, and with it every route.
    """
    content = (json.dumps(configuration, indent=1, sort_keys=True) + "\n").encode()
    try:
        if path.read_bytes() == content:
            return False
    except FileNotFoundError:
        if not configuration:
            return False
    replace(path, content)
    return True


def replace(path: Path, content: bytes) -> None:
    """Write a file of mode 0600 whole, through a temporary name beside it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
