"""What takes long before its transaction keeps nobody else from writing."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from nablahub.core.yamlspec import Document, document
from nablahub.service.preparing import Preparer
from nablahub.workflows import service as workflows
from tests.support.service import RunningService, running

SPEC = "name: w\njobs: {a: {uses: script@v1, with: {script: 'true'}}}\n"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state")) as found:
        yield found


class Held:
    """Reads specs only when it is let go."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, source: Any) -> Document:
        self.begun.set()
        assert self.go.wait(30)
        return document(source)


@pytest.mark.parametrize("path", ["/workflows", "/workflow-validations"])
def test_others_write_while_a_spec_is_read(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    project = service.hub("alice").projects.create(f"for {path[1:]}").id
    body = {"spec": SPEC} | ({"project": project} if path == "/workflows" else {})
    held = Held()
    monkeypatch.setattr(workflows, "document", held)
    with ThreadPoolExecutor(1) as thread:
        sent = thread.submit(service.transport("alice").post, path, body)
        assert held.begun.wait(30)
        try:
            made = service.hub("bob").projects.create(f"meanwhile {path[1:]}")
            assert service.hub("bob").projects.get(made.id) == made
            assert not sent.done()
        finally:
            held.go.set()
        answer = sent.result()
    assert answer["name"] == "w" if path == "/workflows" else answer["valid"]


def test_a_creation_that_comes_twice_is_done_once(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = service.hub("alice").projects.create("twice").id
    headers = {"Authorization": "Bearer token-of-alice", "Idempotency-Key": "once"}
    body = {"project": project, "spec": SPEC}
    first = httpx.post(f"{service.url}/api/v1/workflows", json=body, headers=headers)
    # The second isn't even read: what it names may be gone by now.
    monkeypatch.delattr(workflows, "document")
    again = httpx.post(f"{service.url}/api/v1/workflows", json=body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json() == first.json()


def test_a_change_of_what_somebody_else_changed_is_refused(service: RunningService) -> None:
    hub = service.transport("alice")
    project = service.hub("alice").projects.create("changes").id
    made = hub.post("/workflows", {"project": project, "spec": SPEC})
    url = f"{service.url}/api/v1/workflows/{made['id']}"
    headers = {"Authorization": "Bearer token-of-alice"}
    answers = [
        httpx.patch(url, json={"files": {"a": "b"}}, headers=headers | match).status_code
        for match in ({}, {"If-Match": '"7"'}, {"If-Match": "*"}, {"If-Match": '"2"'})
    ]
    assert answers == [428, 412, 200, 200]


def test_nobody_has_two_threads() -> None:
    begun: list[str] = []

    async def main() -> None:
        preparer, go = Preparer(), threading.Event()

        def work(name: str, wait: bool) -> str:
            begun.append(name)
            assert not wait or go.wait(30)
            return name

        slow = [
            asyncio.create_task(preparer.run("alice", functools.partial(work, f"alice{n}", True)))
            for n in range(5)
        ]
        await asyncio.sleep(0)
        assert await preparer.run("bob", lambda: work("bob", False)) == "bob"
        assert len([name for name in begun if name != "bob"]) <= 1
        go.set()
        assert await asyncio.gather(*slow) == [f"alice{n}" for n in range(5)]
        preparer.close()

    asyncio.run(main())
