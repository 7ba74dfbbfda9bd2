"""Who asks, and what they may."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, runtime_checkable

from nablahub.core.errors import Forbidden, NotFound

READ: Final = "custom:nablahub:read"
WRITE: Final = "custom:nablahub:write"
#: Of the tokens by which jobs on other machines bring out what they left; nobody else has it.
DELIVER: Final = "custom:nablahub:deliver"
#: The last word of an operation's scope → the hub scope that a token needs for it.
NEEDS: Final = {"read": READ, "write": WRITE, "deliver": DELIVER}


@dataclass(frozen=True)
class Principal:
    """A person, run, server or proxy that sent a request.

    Parameters
    ----------
    name : str
        The hub user's name; a run acts in the name of who started it.
    kind : str
        ``user`` (a hub token), ``run`` (a token of ours that belongs to one job) or ``proxy``
        (a Traefik on another machine, which fetches the routes of deployments).
    team_ids : frozenset of str
        Teams whose things exist for them.
    scopes : frozenset of str
        ``custom:nablahub:…`` scopes held.
    admin : bool
        Hub administrator.
    job_id, project_id : str or None
        What a run's token is bound to.
    groups : frozenset of str
        Hub groups they belong to; of a run, those that its user had when it was submitted.
    """

    name: str
    kind: Literal["user", "run", "server", "proxy"] = "user"
    team_ids: frozenset[str] = frozenset()
    scopes: frozenset[str] = field(default_factory=lambda: frozenset({READ, WRITE}))
    admin: bool = False
    job_id: str | None = None
    project_id: str | None = None
    groups: frozenset[str] = frozenset()

    def check_scope(self, scope: str) -> None:
        """Raise Forbidden unless the token may do ``"<noun>:read"`` or ``"<noun>:write"``."""
        noun, _, verb = scope.rpartition(":")
        needed = NEEDS[verb]
        if needed not in self.scopes and not (verb == "read" and WRITE in self.scopes):
            raise Forbidden(
                f"This token may not {verb} {noun}: it lacks the scope {needed}.",
                hint="Only the machinery of a job has it, for that job."
                if needed == DELIVER
                else "Make a token with that scope on the hub's token page.",
            )

    def check_team(self, team_id: str, what: str = "It") -> None:
        """Raise NotFound unless the team is theirs: what is not yours does not exist."""
        if team_id not in self.team_ids:
            raise NotFound(f"{what} was not found.", hint="Check the id, and whose token you use.")

    def check_project(self, project_id: str | None, what: str = "It") -> None:
        """Raise NotFound when a run's token is bound to another project."""
        if self.project_id is not None and project_id not in (None, self.project_id):
            raise NotFound(f"{what} was not found.", hint="A run sees its own project only.")


def teams_of(who: Principal | str) -> frozenset[str]:
    """Return the teams of who asks, or the one on whose behalf the hub itself asks, by its id."""
    return frozenset({who}) if isinstance(who, str) else who.team_ids


@runtime_checkable
class TokenAuthority(Protocol):
    """A service that hands out tokens of its own, told apart by their prefix."""

    token_prefix: str

    async def authenticate(self, token: str) -> Principal | None:
        """Return who the token stands for; None when it is unknown, expired or revoked."""
