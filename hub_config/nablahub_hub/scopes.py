"""Roles and scopes that a NablaHub adds to JupyterHub's own."""

from __future__ import annotations

from typing import Any, Final

from nablahub.core.permissions import READ, WRITE

SERVICE: Final = "nablahub"
CULLER: Final = "nablahub-idle-culler"
SUPERVISOR: Final = "nablahub-up"

CUSTOM_SCOPES: Final[dict[str, dict[str, Any]]] = {
    WRITE: {
        "description": "Create and change projects, datasets, models, jobs and deployments",
        "subscopes": [READ],
    },
    READ: {"description": "Read projects, datasets, models, jobs and deployments"},
}

#: What every user holds beside JupyterHub's own scopes.
USER_SCOPES: Final = (READ, WRITE, f"access:services!service={SERVICE}")

#: JupyterHub's own scopes of a single-user server's token, and ours.
SERVER_SCOPES: Final = ("users:activity!user", "access:servers!server", READ, WRITE)

SERVICE_SCOPES: Final = (
    "list:users",
    "read:users:name",
    "read:users:groups",
    "list:groups",
    "read:groups",
)

CULLER_SCOPES: Final = (
    "list:users",
    "read:users:activity",
    "read:servers",
    "admin:server_state",  # where the limits of a server's instance type stand
    "delete:servers",
)


def roles(owner: str | None, *, culler: bool, supervised: bool = True) -> list[dict[str, Any]]:
    """Return the roles of the services that belong to a NablaHub.

    Parameters
    ----------
    owner : str or None
        The one user of a hub on one machine, for whom ``nablahub up`` makes a token.
    culler : bool
        Whether the idle culler runs.
    supervised : bool
        Whether ``nablahub up`` runs the hub.
    """
    found: list[dict[str, Any]] = [
        {
            "name": "nablahub-service",
            "description": "Who is who, and in which group",
            "scopes": list(SERVICE_SCOPES),
            "services": [SERVICE],
        }
    ]
    if culler:
        found.append(
            {
                "name": "nablahub-idle-culler",
                "description": "Stops servers that nobody uses",
                "scopes": list(CULLER_SCOPES),
                "services": [CULLER],
            }
        )
    if not supervised:
        return found
    up = ["shutdown", "read:hub"]
    if owner is not None:
        up += [f"tokens!user={owner}", f"read:users:name!user={owner}"]
    found.append(
        {
            "name": "nablahub-up",
            "description": "Ends the hub; makes the command line's token",
            "scopes": up,
            "services": [SUPERVISOR],
        }
    )
    return found


def merge(specs: list[dict[str, Any]], name: str, scopes: tuple[str, ...]) -> bool:
    """Add scopes to the role of that name in JupyterHub's ``load_roles``; False when not there."""
    for spec in specs:
        if spec.get("name") == name and "scopes" in spec:
            spec["scopes"] = [*spec["scopes"], *(s for s in scopes if s not in spec["scopes"])]
            return True
    return False
