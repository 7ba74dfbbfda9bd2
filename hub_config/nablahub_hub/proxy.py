"""Traefik's routes as the hub keeps them."""

from __future__ import annotations

import json
from typing import Any

from jupyterhub_traefik_proxy import traefik_utils
from jupyterhub_traefik_proxy.fileprovider import TraefikFileProviderProxy
from tornado.httpclient import HTTPClientError


class RoutesProxy(TraefikFileProviderProxy):  # type: ignore[misc]  # it ships no types
    """Takes a route for added when Traefik leads to its target, and not to an earlier one.

    The route of a server that was just stopped may still be in Traefik's memory when the next one
    is added under the same name, and go for a moment after that.
    """

    async def _check_for_traefik_service(self, routespec: str, kind: str) -> bool:
        """Return whether Traefik has taken over what the file says now.

        Parameters
        ----------
        routespec : str
            The route's path, after a host's name if it has one.
        kind : str
            ``service`` or ``router``, as Traefik calls them.
        """
        if not await super()._check_for_traefik_service(routespec, kind):
            return False
        if kind != "service":
            return True
        alias = traefik_utils.generate_alias(self.validate_routespec(routespec), kind)
        wanted = self.dynamic_config["http"]["services"].get(alias)
        return wanted is None or _targets(wanted) == _targets(await self._loaded(alias))

    async def _loaded(self, alias: str) -> Any:
        path = f"/api/http/services/{alias}@{self.provider_name}"
        try:
            return json.loads((await self._traefik_api_request(path)).body)
        except (HTTPClientError, OSError):
            return {}  # Gone between two questions.


def _targets(service: Any) -> list[str]:
    return [server["url"] for server in service.get("loadBalancer", {}).get("servers", [])]
