"""The little HTTP that the supervisor speaks: probes and the hub's API, on the loopback only."""

from __future__ import annotations

import asyncio
import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

HTTP_ERRORS = (OSError, http.client.HTTPException)


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: bytes

    def json(self) -> Any:
        """Return the body, parsed."""
        return json.loads(self.body)


def request(
    method: str,
    url: str,
    *,
    token: str | None = None,
    body: Any = None,
    timeout: float = 10.0,
) -> Answer:
    """Send one request; raises OSError or http.client.HTTPException when nobody answers it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=timeout)
    headers = {"Authorization": f"token {token}"} if token else {}
    if body is not None:
        headers["Content-Type"] = "application/json"
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(
            method, path, body=None if body is None else json.dumps(body), headers=headers
        )
        response = connection.getresponse()
        return Answer(response.status, response.read())
    finally:
        connection.close()


async def answers(url: str) -> bool:
    """Whether a GET is answered with 200 now."""
    try:
        answer = await asyncio.to_thread(request, "GET", url, timeout=5.0)
    except HTTP_ERRORS:
        return False
    return answer.status == 200


async def until_answers(url: str) -> None:
    """Return when a GET is answered with 200; a refused connection is asked again at once."""
    pause = 0.02
    while not await answers(url):
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, 0.2)
