"""Where nothing is: words and a way out, as a page for people and a problem for programs."""

from __future__ import annotations

from html import escape

from sqlalchemy.orm import Session

from nablahub.core.errors import NablaError
from nablahub.service.http import EdgeHandler
from nablahub.service.problems import NoDeploymentThere, NoSuchRoute

PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>{title} – NablaHub</title></head>
<body>
<h1>{title}</h1>
<p>{detail}</p>
<p>{hint}</p>
<p><a href="{home}">To NablaHub's start page</a></p>
</body>
</html>
"""


class NotFoundHandler(EdgeHandler):
    """Any path that no operation has; tells nobody anything without a token either."""

    async def prepare(self) -> None:
        """Refuse."""
        self._refuse(self._missing())

    def _missing(self) -> NablaError:
        return NoSuchRoute(self.request.path)

    def _words(self, error: NablaError) -> tuple[str, str]:
        if "text/html" not in self.request.headers.get("Accept", ""):
            return super()._words(error)
        text = PAGE.format(
            title=escape(error.title), detail=escape(error.detail), hint=escape(error.hint),
            home=escape(f"{self.context.settings.public_url.rstrip('/')}/hub/home"),
        )  # fmt: skip
        return "text/html; charset=utf-8", text


class NoDeploymentHandler(NotFoundHandler):
    """An address below ``/deployments`` that leads to no server; the proxy sends it here."""

    async def prepare(self) -> None:
        """Refuse, saying whether there is no deployment or one that takes no requests."""
        found = await self._find()
        self._refuse(NoDeploymentThere(self.request.path) if found is None else found)

    async def _find(self) -> NablaError | None:
        """Ask whoever has addresses there."""
        asked = [s for s in self.context.services if hasattr(s, "unserved")]
        path = self.request.path

        def find(session: Session) -> NablaError | None:
            found = (service.unserved(session, path) for service in asked)
            return next((error for error in found if error is not None), None)

        return await self.context.database.read(find)
