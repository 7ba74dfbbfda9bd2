"""Sign-in on one machine: one user, one long password, and links that work once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyterhub.auth import Authenticator
from jupyterhub.authenticators.shared import SharedPasswordAuthenticator
from jupyterhub.handlers.base import BaseHandler
from tornado import web
from traitlets import Unicode

from nablahub_hub import links


class OneTimeLinkHandler(BaseHandler):  # type: ignore[misc]  # JupyterHub ships no types
    """Sign in who holds an unused link, and send them on."""

    async def get(self, key: str) -> None:
        """Spend the link, set the login cookie, redirect."""
        if "prefetch" in self.request.headers.get("Sec-Purpose", ""):
            raise web.HTTPError(503, "A sign-in link is not fetched ahead.")
        user = self.current_user
        if user is None:
            data = {"username": "", "password": "", "key": key}
            user = await self.login_user(data)
        if user is None:
            raise web.HTTPError(
                403,
                "This sign-in link was used already, or is older than ten minutes. "
                "Run `nablahub up` again for a new one, or sign in with the password.",
            )
        self._jupyterhub_user = user
        self.redirect(self.get_next_url(user))


class LocalAuthenticator(SharedPasswordAuthenticator):  # type: ignore[misc]  # JupyterHub ships no types
    """Knows exactly one user: the operating system's, who is the administrator."""

    links_folder = Unicode(
        config=True, help="Folder of unused sign-in links; empty: there are none."
    )

    def get_handlers(self, app: Any) -> list[tuple[str, type]]:
        """Add our handler to the login form's."""
        return [
            *super().get_handlers(app),
            (links.PATH.removeprefix("/hub") + r"/([\w-]+)", OneTimeLinkHandler),
        ]

    async def authenticate(
        self, handler: BaseHandler, data: dict[str, str]
    ) -> dict[str, Any] | None:
        """Return the owner for a good link or the right name and password, else None."""
        if "key" in data:
            user = links.use(Path(self.links_folder), data["key"]) if self.links_folder else None
            if user is None or user not in self.admin_users:
                return None
            return {"name": user, "admin": True, "groups": []}
        if self.normalize_username(data.get("username", "")) not in self.admin_users:
            return None
        found: dict[str, Any] | None = await super().authenticate(handler, data)
        return found

    def check_allow_config(self) -> None:
        """Skip the warning that no ordinary user may sign in: that is what is wanted here."""
        Authenticator.check_allow_config(self)
