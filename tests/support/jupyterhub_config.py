"""A hub with several users who can be told apart, for the tests."""

from typing import Any

from jupyterhub.auth import Authenticator

import nablahub_hub

c = get_config()  # type: ignore[name-defined]  # noqa: F821 - given by traitlets


class NamePasswordAuthenticator(Authenticator):  # type: ignore[misc]  # JupyterHub ships no types
    """Each user's password is ``password-of-<name>``."""

    async def authenticate(self, handler: Any, data: dict[str, str]) -> str | None:
        """Return the name when the password is that user's."""
        name = data["username"]
        return name if data["password"] == f"password-of-{name}" else None


c.JupyterHub.authenticator_class = NamePasswordAuthenticator
c.Authenticator.allowed_users = {"alice", "bob", "carol"}
c.JupyterHub.services = [{"name": "tests", "api_token": "token-of-the-tests", "display": False}]
c.JupyterHub.load_roles = [
    {
        "name": "tests",
        "scopes": ["admin:users", "admin:servers", "tokens", "access:servers", "shutdown"],
        "services": ["tests"],
    }
]
c.NablaHub.allow_private_addresses = True  # The S3 of the tests is on this machine.
nablahub_hub.install(c)
