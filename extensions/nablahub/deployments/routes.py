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
#: Of routes kept for the time when the service cannot be asked: any that it tells win over them.
KEPT_PRIORITY: Final = 50_000
ENTRY_POINT: Final = "http"
#: Sent by the prober alone: leads to the servers of a version that has no traffic yet.
CANARY_HEADER: Final = "X-Nablahub-Canary"
VERSION_HEADER: Final = "X-Nablahub-Deployment-Version"
PREFIX: Final = "/deployments"
#: A connection that nobody used for so long is given up by Traefik. A server that drains waits a
#: second longer before it closes one (``LINGER`` in ``servers``), so that none is closed under a
#: request.
IDLE_SECONDS: Final = 2

_GUARD = "nablahub-deployments"
_NOBODY = "nablahub-no-deployment"
_TRANSPORT = "nablahub-deployments"


@dataclass(frozen=True)
class Backend:
    """Servers of one spec version.

    Parameters
    ----------
    version : int
        The spec version.
    addresses : tuple of str
        ``host:port`` of each server, or of the Service before them.
    weight : int
        Its share of the traffic, beside those of the other versions.
    """

    version: int
    addresses: tuple[str, ...]
    weight: int = 1


@dataclass(frozen=True)
class Route:
    """What Traefik is to do with one deployment's address.

    Parameters
    ----------
    deployment_id : str
        Names the address.
    main : tuple of Backend
        Where everybody goes, by weight; those without addresses are passed over. None left: whoever
        answers where no deployment is.
    canary : Backend or None
        Where the prober goes.
    canary_secret : str
        What the prober says to get there.
    """

    deployment_id: str
    main: tuple[Backend, ...] = ()
    canary: Backend | None = None
    canary_secret: str = ""


def endpoint(url: str, deployment_id: str) -> str:
    """Return the address of a deployment below the URL of the proxy, or of what is before it."""
    return f"{url.rstrip('/')}{PREFIX}/{deployment_id}"


def build(
    routes: Iterable[Route], *, otherwise: str | None = None, priority: int = PRIORITY
) -> dict[str, Any]:
    """Return the dynamic configuration; empty when there is nothing to route.

    Parameters
    ----------
    routes : iterable of Route
        What to route.
    otherwise : str or None
        Who answers where no deployment is, or none that takes requests, such as
        ``http://127.0.0.1:8002``; None: whoever has the rest of the addresses.
    priority : int
        Of the routes.
    """
    made = _Made(priority)
    for route in routes:
        made.add(route)
    if made.routers:
        made.middlewares[_GUARD] = {"headers": _GUARD_HEADERS}
    if otherwise is not None:
        made.routers[_NOBODY] = {
            "entryPoints": [ENTRY_POINT],
            "rule": f"Path(`{PREFIX}`) || PathPrefix(`{PREFIX}/`)",
            "priority": priority - 1,
            "service": _NOBODY,
        }
        made.services[_NOBODY] = {"loadBalancer": {"servers": [{"url": otherwise}]}}
    if not made.routers:
        return {}
    found = {"routers": made.routers, "services": made.services}
    if made.middlewares:  # Traefik takes no empty mapping.
        idle = {"forwardingTimeouts": {"idleConnTimeout": f"{IDLE_SECONDS}s"}}
        found |= {"middlewares": made.middlewares, "serversTransports": {_TRANSPORT: idle}}
    return {"http": found}


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


class _Made:
    """The parts of a configuration."""

    def __init__(self, priority: int) -> None:
        self._priority = priority
        self.routers: dict[str, Any] = {}
        self.services: dict[str, Any] = {}
        self.middlewares: dict[str, Any] = {}

    def add(self, route: Route) -> None:
        """Add the routers of a deployment that has servers."""
        path = f"{PREFIX}/{route.deployment_id}"
        name = f"deployment-{route.deployment_id}"
        rule = f"(Path(`{path}`) || PathPrefix(`{path}/`))"
        main = [backend for backend in route.main if backend.addresses]
        if main:
            parts = [{"name": self._service(name, b), "weight": b.weight} for b in main]
            service = parts[0]["name"]
            if len(parts) > 1:
                service = name
                self.services[name] = {"weighted": {"services": parts}}
            self._router(name, rule, 0, service, name)
        if route.canary is not None and route.canary.addresses:
            rule = f"{rule} && Header(`{CANARY_HEADER}`, `{route.canary_secret}`)"
            self._router(f"{name}-canary", rule, 1, self._service(name, route.canary), name)

    def _router(self, name: str, rule: str, above: int, service: object, deployment: str) -> None:
        strip = f"{deployment}-strip"
        path = f"{PREFIX}/{deployment.removeprefix('deployment-')}"
        self.middlewares[strip] = {"stripPrefix": {"prefixes": [path]}}
        self.routers[name] = {
            "entryPoints": [ENTRY_POINT],
            "rule": rule,
            "priority": self._priority + above,
            "middlewares": [_GUARD, strip],
            "service": service,
        }

    def _service(self, deployment: str, backend: Backend) -> str:
        """Add the servers of a version, whose answers say which one it is."""
        name = f"{deployment}-v{backend.version}"
        stamp = {"customResponseHeaders": {VERSION_HEADER: str(backend.version)}}
        self.middlewares[name] = {"headers": stamp}
        self.services[name] = {
            "middlewares": [name],
            "loadBalancer": {
                "servers": [{"url": f"http://{address}"} for address in backend.addresses],
                "passHostHeader": True,
                "serversTransport": _TRANSPORT,
            },
        }
        return name


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
