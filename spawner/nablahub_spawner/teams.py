"""The teams of a user, whose folders their server shows."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from secrets import token_hex
from typing import Any

from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from nablahub_spawner.failures import SpawnFailed


@dataclass(frozen=True)
class Team:
    """A team that a user belongs to.

    Parameters
    ----------
    id : str
        Its id, which never changes.
    name : str
        The user's name for the private team, else the hub group's.
    private : bool
        Whether it is the user's own.
    """

    id: str
    name: str
    private: bool


def remembered(memory: Path) -> list[Team]:
    """Return the teams that the service told of last; none when it never did."""
    try:
        return [Team(**row) for row in json.loads(memory.read_text())]
    except (OSError, ValueError, TypeError):
        return []


async def teams_of_user(service_url: str, token: str, memory: Path) -> list[Team]:
    """Return a user's teams, the private one first, as the service tells the user.

    Parameters
    ----------
    service_url : str
        The service's root.
    token : str
        A hub token of the user.
    memory : pathlib.Path
        A file with the answer of last time, which is taken while the service is away.

    Raises
    ------
    SpawnFailed
        When the service does not answer and never did.
    """
    try:
        items = await _ask(service_url, token)
    except (HTTPClientError, OSError) as error:
        if kept := remembered(memory):
            return kept
        raise SpawnFailed(
            "The NablaHub service does not answer, so it is not known which storage is "
            f"yours ({error}).",
            "Try again in a moment.",
            reason="service",
            status_code=503,
        ) from error
    found = [Team(row["id"], row["name"], row["kind"] == "private") for row in items]
    found.sort(key=lambda team: (not team.private, team.name))
    with suppress(OSError):  # The disk is full: a server starts all the same.
        memory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = memory.with_name(f".{memory.name}.{token_hex(4)}")
        new.write_text(json.dumps([asdict(team) for team in found]))
        new.replace(memory)
    return found


async def _ask(service_url: str, token: str) -> list[dict[str, Any]]:
    """Return all pages of the user's teams."""
    client, items, cursor = AsyncHTTPClient(), list[dict[str, Any]](), ""
    while True:
        answer = await client.fetch(
            f"{service_url}/api/v1/teams?limit=200{cursor}",
            headers={"Authorization": f"Bearer {token}"},
            request_timeout=10,
        )
        page = json.loads(answer.body)
        items += page["items"]
        if not page.get("next"):
            return items
        cursor = f"&cursor={page['next']}"
