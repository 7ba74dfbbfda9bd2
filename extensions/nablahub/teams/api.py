"""Teams over the REST API."""

from __future__ import annotations

from collections.abc import Iterator

from nablahub.core.transport import Transport
from nablahub.teams.types import Team


class TeamsAPI:
    """Teams, as a client sees them."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def list(self) -> Iterator[Team]:
        """Yield the teams you belong to."""
        return map(Team.model_validate, self._hub.pages("/teams"))
