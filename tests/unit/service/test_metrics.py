"""The page that Prometheus reads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from tests.support.service import RunningService, running

type Numbers = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state")) as found:
        yield found


def scrape(service: RunningService) -> Numbers:
    """Serve the page on a port of its own, as the service's main program does, and read it."""

    async def ask() -> str:
        sockets = bind_sockets(0, "127.0.0.1")
        server = HTTPServer(service.service.metrics.application())
        server.add_sockets(sockets)
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                answer = await client.get(f"http://127.0.0.1:{sockets[0].getsockname()[1]}/metrics")
            assert answer.status_code == 200
            return answer.text
        finally:
            server.stop()
            await server.close_all_connections()

    loop = service._loop
    assert loop is not None
    text = asyncio.run_coroutine_threadsafe(ask(), loop).result(60)
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def at(numbers: Numbers, name: str, **labels: str) -> float:
    return numbers.get((name, frozenset(labels.items())), 0.0)


def test_requests_are_counted_by_route_and_not_by_what_was_asked_for(
    service: RunningService,
) -> None:
    before = scrape(service)
    hub = service.transport()
    made = hub.post("/projects", {"name": "one"})
    for _ in range(3):
        hub.get(f"/projects/{made['id']}")
    with httpx.Client(trust_env=False) as client:
        assert client.get(service.url + "/api/v1/projects/pnothing").status_code == 401
        assert client.get(service.url + "/nowhere").status_code == 404
    after = scrape(service)

    def more(**labels: str) -> float:
        name = "nablahub_requests_total"
        return at(after, name, **labels) - at(before, name, **labels)

    assert more(method="POST", route="/projects", code="201") == 1
    assert more(method="GET", route="/projects/{project}", code="200") == 3
    assert more(method="GET", route="/projects/{project}", code="401") == 1
    assert more(method="GET", route="none", code="404") == 1
    assert not [labels for _, labels in after if made["id"] in str(labels)]
    seconds = at(
        after, "nablahub_request_seconds_count", method="GET", route="/projects/{project}"
    )  # fmt: skip
    assert seconds >= 4


def test_states_and_the_process_are_shown(service: RunningService) -> None:
    numbers = scrape(service)
    assert at(numbers, "nablahub_leader") == 1.0
    assert at(numbers, "nablahub_database_up") == 1.0
    assert ("nablahub_reconcile_lag_seconds", frozenset()) in numbers
    assert at(numbers, "process_resident_memory_bytes") > 1e6
    runs = service.service.database.read_sync(service.service.metrics._count)
    assert set(runs) == {"jobs", "runs", "deployments"}
