"""Settle the extension into a running Jupyter server."""

from __future__ import annotations

import os

import httpx
from jupyter_server.serverapp import ServerApp
from jupyter_server.utils import url_path_join

from nablahub_server import mounts
from nablahub_server.claims import Reporter, claims_of
from nablahub_server.handlers import ForwardHandler
from nablahub_server.limits import Limits, LimitsHandler
from nablahub_server.mount_handler import MountsHandler
from nablahub_server.upstream import upstream_from

# Only the connection has a deadline: an event stream may be silent, an upload long.
TIMEOUT = httpx.Timeout(None, connect=5.0)
LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=8, keepalive_expiry=30.0)


def load(server: ServerApp) -> None:
    """Add the routes ``nablahub/api/…``, ``…/limits`` and ``…/mounts`` to ``server``."""
    upstream = upstream_from(os.environ)
    # The environment's proxy settings are for the internet, not for the hub's own service.
    client = httpx.AsyncClient(timeout=TIMEOUT, limits=LIMITS, trust_env=False)
    options = {"upstream": upstream, "client": client}
    limits = {"limits": Limits.read(os.environ), "environment": os.environ, **options}
    base = server.web_app.settings["base_url"]
    routes = [
        (url_path_join(base, "nablahub", "api", "(.*)"), ForwardHandler, options),
        (url_path_join(base, "nablahub", "limits"), LimitsHandler, limits),
        (url_path_join(base, "nablahub", "mounts"), MountsHandler, options),
    ]
    server.web_app.add_handlers(".*$", routes)  # type: ignore[no-untyped-call]  # tornado
    if upstream.url:
        server.log.info("NablaHub: calls go to %s", upstream.url)
        mounts.keep(upstream, server.log)
        if claims := claims_of(os.environ):
            Reporter(upstream, claims, server.log).start()
    else:
        server.log.warning("NablaHub: NABLAHUB_URL is not set, so its panel can reach no service")
