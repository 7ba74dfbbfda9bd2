"""What all spawners share."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tornado import web
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from nablahub_spawner.failures import SpawnFailed
from nablahub_spawner.news import News
from nablahub_spawner.teams import Team, teams_of_user


async def read(news: News) -> list[str]:
    return [sentence async for sentence in news]


async def test_every_reader_gets_all_news_from_the_beginning() -> None:
    news = News()
    early = asyncio.create_task(read(news))
    assert news.tell("one")
    assert not news.tell("one")
    await asyncio.sleep(0)  # the reader's turn
    assert news.tell("two")
    late = asyncio.create_task(read(news))
    news.end()
    assert await early == await late == await read(news) == ["one", "two"]


def test_a_failure_shows_its_sentence_and_remedy_safely() -> None:
    failed = SpawnFailed("No <room>.", "Wait & see.", reason="room")
    assert failed.jupyterhub_message == "No <room>. Wait & see."
    assert failed.jupyterhub_html_message == (
        'No &lt;room&gt;. <strong class="nabla-remedy">Wait &amp; see.</strong>'
    )


class Teams(web.RequestHandler):
    """Two pages of teams, the private one last."""

    def get(self) -> None:
        assert self.request.headers["Authorization"] == "Bearer mine"
        rows = [
            {"id": "team_2", "name": "blue", "kind": "group"},
            {"id": "team_1", "name": "alice", "kind": "private"},
        ]
        second = self.get_argument("cursor", None) == "more"
        page: dict[str, Any] = {"items": [rows[second]], "next": None if second else "more"}
        self.write(json.dumps(page))


async def test_teams_come_private_first_and_are_remembered(tmp_path: Path) -> None:
    memory = tmp_path / "servers" / "alice.json"
    (socket,) = bind_sockets(0, "127.0.0.1")
    server = HTTPServer(web.Application([("/api/v1/teams", Teams)]))
    server.add_sockets([socket])
    url = f"http://127.0.0.1:{socket.getsockname()[1]}"
    wanted = [Team("team_1", "alice", private=True), Team("team_2", "blue", private=False)]
    assert await teams_of_user(url, "mine", memory) == wanted
    server.stop()
    await server.close_all_connections()
    assert await teams_of_user(url, "mine", memory) == wanted
    with pytest.raises(SpawnFailed, match="does not answer"):
        await teams_of_user(url, "mine", tmp_path / "nobody")
