"""Who sent a request: hub tokens are asked of the hub, those of runs of whoever made them."""

from __future__ import annotations

import functools
import hashlib
import time
from dataclasses import dataclass
from typing import Any

import httpx

from nablahub.core.context import Context
from nablahub.core.errors import Unauthenticated, Unavailable
from nablahub.core.permissions import Principal, TokenAuthority
from nablahub.teams.service import TeamService

CACHE_LIMIT = 10_000
HUB_TIMEOUT = 10.0


def unauthenticated() -> Unauthenticated:
    """Return the error for a token that is missing, unknown, expired or revoked."""
    return Unauthenticated(
        "The token is missing, unknown, expired or revoked.",
        hint="Send `Authorization: Bearer TOKEN`; the hub's token page makes one.",
    )


@dataclass(frozen=True)
class _Known:
    principal: Principal
    until: float


class Authenticator:
    """Tells whose token it is.

    A hub token is looked up at the hub and the answer kept for
    ``Settings.introspection_seconds`` (at most 10), so that a revoked one dies soon.

    Parameters
    ----------
    context : Context
        For the settings, teams, and services that hand out tokens.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._known: dict[bytes, _Known] = {}
        self._hub = httpx.AsyncClient(
            base_url=context.settings.hub_api_url, timeout=HUB_TIMEOUT, trust_env=False
        )

    @functools.cached_property
    def _authorities(self) -> list[TokenAuthority]:
        # Once: asking what an object can do takes longer than most of what comes after.
        return [found for found in self._context.services if isinstance(found, TokenAuthority)]

    async def close(self) -> None:
        """Close the connections to the hub."""
        await self._hub.aclose()

    async def principal(self, token: str | None) -> Principal:
        """Return who the token stands for.

        Raises
        ------
        Unauthenticated
            When it stands for nobody.
        Unavailable
            When the hub does not answer.
        """
        if not token or not token.isascii() or len(token) > 1024:
            raise unauthenticated()
        for authority in self._authorities:
            if token.startswith(authority.token_prefix):
                found = await authority.authenticate(token)
                if found is None:
                    raise unauthenticated()
                return found
        key = hashlib.sha256(token.encode()).digest()
        known = self._known.get(key)
        if known is not None and known.until > time.monotonic():
            return known.principal
        self._known.pop(key, None)
        principal = await self._ask_hub(token)
        if len(self._known) >= CACHE_LIMIT:
            self._known.clear()
        until = time.monotonic() + self._context.settings.introspection_seconds
        self._known[key] = _Known(principal, until)
        return principal

    async def _ask_hub(self, token: str) -> Principal:
        try:
            response = await self._hub.get("/user", headers={"Authorization": f"token {token}"})
        except httpx.TransportError as error:
            raise Unavailable(
                "The hub, which knows the tokens, does not answer.",
                hint="It may be restarting: try again in a few seconds.",
            ) from error
        if response.status_code in (401, 403, 404):
            raise unauthenticated()
        if response.status_code != 200:
            raise Unavailable(
                f"The hub, which knows the tokens, answered {response.status_code}.",
                hint="Try again in a few seconds; the hub's log says more.",
            )
        model: dict[str, Any] = response.json()
        if model.get("kind") != "user":
            # A service's token belongs to no team; nothing exists for it.
            return Principal(model.get("name", ""), scopes=frozenset(model.get("scopes", [])))
        teams = self._context.get(TeamService)
        rows = await teams.of_user(model["name"], model.get("groups", []))
        return Principal(
            name=model["name"],
            team_ids=frozenset(row.id for row in rows),
            scopes=frozenset(model.get("scopes", [])),
            admin=bool(model.get("admin")),
            groups=frozenset(model.get("groups", [])),
        )


def token_of(authorization: str | None) -> str | None:
    """Return the token of an ``Authorization`` header (Bearer, or JupyterHub's ``token``)."""
    scheme, _, token = (authorization or "").partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "token") and token.strip() else None
