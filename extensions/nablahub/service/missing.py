"""Where nothing is: words and a way out, as a page for people and a problem for programs."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from html import escape
from typing import Final

from sqlalchemy.orm import Session

from nablahub.core.errors import NablaError
from nablahub.service.http import EdgeHandler
from nablahub.service.problems import NoDeploymentThere, NoSuchRoute

STYLE: Final = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 36rem; margin: 12vh auto; padding: 0 1.25rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; font-weight: 500; }
h1::before { content: "\\2207"; margin-inline-end: .5rem; }
code { padding: .1em .35em; border: 1px solid #8886; border-radius: 3px; font-size: .9em; }
"""
#: A policy names what it allows by the hash of its text (CSP 3, 2.3.1).
STYLE_HASH: Final = b64encode(sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; frame-ancestors 'none'; sandbox"
)
PAGE: Final = """\
<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{title} – NablaHub</title><style>{style}</style></head>
<body><main>
<h1>{title}</h1>
<p>{detail}</p>
<p>{hint}</p>
<p><a href="{home}">To NablaHub's start page</a></p>
</main></body>
</html>
"""
_CODE = re.compile("`([^`]+)`")


def marked(text: str) -> str:
    """Return a sentence as HTML, what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", escape(text))


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
        self.set_header("Content-Security-Policy", POLICY)
        text = PAGE.format(
            title=escape(error.title), detail=marked(error.detail), hint=marked(error.hint),
            style=STYLE,
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
