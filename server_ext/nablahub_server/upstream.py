"""Where the service is, and as whom it is called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Upstream:
    """Where the service is and as whom it is called.

    Parameters
    ----------
    url
        The service's base address, without ``/api/v1``; empty when this server has none.
    token
        The server's own token, with which the service knows its owner.
    owner
        The only user who may call the service through this server; empty when the server
        was not started by a hub, and then whoever may use the server may.
    """

    url: str
    token: str
    owner: str


def upstream_from(environment: Mapping[str, str]) -> Upstream:
    """Read the service's address, the token and the owner from environment variables.

    ``NABLAHUB_TOKEN`` wins over ``JUPYTERHUB_API_TOKEN``, as it does for the client.
    """
    return Upstream(
        url=environment.get("NABLAHUB_URL", "").rstrip("/"),
        token=environment.get("NABLAHUB_TOKEN") or environment.get("JUPYTERHUB_API_TOKEN", ""),
        owner=environment.get("JUPYTERHUB_USER", ""),
    )
