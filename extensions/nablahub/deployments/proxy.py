"""A Traefik on another machine: its token, and the routes that it fetches.

On one machine Traefik reads the file that the service writes. On Kubernetes it runs in a pod of
its own and asks the service for the same content (Traefik's HTTP provider), which needs neither a
shared volume nor rights in the cluster.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import Final

from nablahub.core.errors import NotFound
from nablahub.core.permissions import READ, Principal
from nablahub.core.settings import Settings

PREFIX: Final = "nht_"
#: Without deployments there is no file.
NO_ROUTES: Final = b"{}\n"


class ProxyToken:
    """The token of the proxy; the file is read each time, so that it can be changed."""

    def __init__(self, settings: Settings) -> None:
        self._file = settings.proxy_token_file

    def principal(self, token: str) -> Principal | None:
        """Return the proxy, to whom no team's things exist; None for any other token."""
        if self._file is None:
            return None
        known = self._file.read_text().strip()
        if not (known.startswith(PREFIX) and hmac.compare_digest(known, token)):
            return None
        return Principal(name="traefik", kind="proxy", scopes=frozenset({READ}))


def routes_for(who: Principal, file: Path) -> bytes:
    """Return Traefik's dynamic configuration of all deployments, as JSON.

    Raises
    ------
    NotFound
        Somebody else than the proxy asks: the routes tell the addresses of model servers.
    """
    if who.kind != "proxy":
        raise NotFound("Routes are for the proxy.", hint="Ask for your deployments instead.")
    try:
        return file.read_bytes()
    except FileNotFoundError:
        return NO_ROUTES
