"""The client's side of the wire: retries that double nothing, events that miss nothing."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from nablahub.core import errors
from nablahub.core.state import StateDir
from nablahub.core.transport import NoHub, Transport, connect, parse_sse


class Flaky(BaseHTTPRequestHandler):
    """Answers 502 like a proxy, then cuts the connection, then works."""

    keys: list[str | None]

    def do_POST(self) -> None:
        self.keys.append(self.headers["Idempotency-Key"])
        self.rfile.read(int(self.headers["Content-Length"]))
        if len(self.keys) == 2:
            self.close_connection = True
            return
        body = json.dumps({"made": True}).encode()
        self.send_response(502 if len(self.keys) == 1 else 201)
        self.send_header("Content-Type", "application/json" if len(self.keys) > 1 else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


class Coming(BaseHTTPRequestHandler):
    """Comes back by and by: a proxy's 502, a cut connection, then a stream."""

    calls: list[str]

    def do_GET(self) -> None:
        self.calls.append(self.command)
        if len(self.calls) == 2:
            self.close_connection = True
            return
        self.send_response(502 if len(self.calls) == 1 else 200)
        self.end_headers()
        if len(self.calls) > 2:
            self.wfile.write(b"all of it")
        self.close_connection = True

    do_PUT = do_GET

    def log_message(self, *args: object) -> None:
        pass


class Restless(BaseHTTPRequestHandler):
    """Cuts each second connection at once, and the others before anything happened."""

    calls: int

    def do_GET(self) -> None:
        type(self).calls += 1
        if self.calls % 2:
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b": nothing yet\n\n")
        if self.calls == 12:
            self.wfile.write(b'id: 1\ndata: {"a": 1}\n\nevent: end\n\n')
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def flaky() -> Iterator[str]:
    Flaky.keys = []
    with serving(Flaky) as url:
        yield url


def test_a_retried_post_carries_one_key(flaky: str) -> None:
    with Transport(flaky, "t") as hub:
        assert hub.post("/things", {"a": 1}) == {"made": True}
    assert len(Flaky.keys) == 3
    assert len(set(Flaky.keys)) == 1
    assert Flaky.keys[0]


def test_a_stream_that_only_reads_waits_for_its_first_byte() -> None:
    Coming.calls = []
    with (
        serving(Coming) as url,
        Transport(url, "t") as hub,
        hub.stream("GET", "/files/a") as answer,
    ):
        assert answer.read() == b"all of it"
    assert Coming.calls == ["GET"] * 3


@pytest.mark.parametrize(("method", "tries"), [("PUT", None), ("GET", 1)])
def test_a_stream_that_may_not_be_sent_again_is_not(method: str, tries: int | None) -> None:
    Coming.calls = []
    with (
        serving(Coming) as url,
        Transport(url, "t") as hub,
        pytest.raises(errors.Unavailable),
        hub.stream(method, "/files/a", content=iter([b""]), tries=tries),
    ):
        pass
    assert Coming.calls == [method]


def test_a_hub_that_is_away_is_said_in_words() -> None:
    with (
        Transport("http://127.0.0.1:9", "t", tries=1) as hub,
        pytest.raises(errors.Unavailable, match=r"does not answer.*nablahub up"),
    ):
        hub.get("/projects")


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("http://127.0.0.2:9/services/nablahub", "reached from here? Check NABLAHUB_URL"),
        ("hub.example.org/services/nablahub", "an address begins with https://"),
    ],
)
def test_who_named_another_hub_is_not_told_to_start_one(url: str, hint: str) -> None:
    with Transport(url, "t", tries=1) as hub, pytest.raises(errors.Unavailable) as caught:
        hub.get("/projects")
    assert url in caught.value.detail
    assert hint in caught.value.hint
    assert "nablahub up" not in caught.value.hint


def test_an_address_without_a_token_says_where_to_make_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NABLAHUB_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NABLAHUB_URL", "https://hub.example.org")
    with pytest.raises(NoHub, match=r"NABLAHUB_TOKEN is not set.*hub\.example\.org/hub/token"):
        connect(state=StateDir(tmp_path))


class Telling(BaseHTTPRequestHandler):
    """Says once why it can't, and then can."""

    calls: int
    code: str

    def do_POST(self) -> None:
        type(self).calls += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        first = self.calls == 1
        self.send_response(503 if first else 201)
        self.send_header(
            "Content-Type", "application/problem+json" if first else "application/json"
        )
        self.end_headers()
        told = json.dumps({"code": self.code, "detail": "Not now."})
        self.wfile.write(told.encode() if first else b'{"made": true}')

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize("code", ["unavailable", "no_leader"])
def test_a_service_that_says_that_it_comes_back_is_waited_for(code: str) -> None:
    Telling.calls, Telling.code = 0, code
    with serving(Telling) as url, Transport(url, "t") as hub:
        assert hub.post("/things") == {"made": True}


def test_what_does_not_pass_by_itself_is_told_at_once() -> None:
    Telling.calls, Telling.code = 0, "environment_build_failed"
    with (
        serving(Telling) as url,
        Transport(url, "t") as hub,
        pytest.raises(errors.NablaError, match="Not now"),
    ):
        hub.post("/things")
    assert Telling.calls == 1


class Refusing(BaseHTTPRequestHandler):
    """Knows no token."""

    def do_GET(self) -> None:
        said = {"code": "unauthenticated", "detail": "No.", "hint": "Send `Authorization`."}
        self.send_response(401)
        self.send_header("Content-Type", "application/problem+json")
        self.end_headers()
        self.wfile.write(json.dumps(said).encode())

    def log_message(self, *args: object) -> None:
        pass


def test_a_refused_token_leads_to_the_page_that_makes_them() -> None:
    with (
        serving(Refusing) as url,
        connect(url, "t") as hub,
        pytest.raises(errors.Unauthenticated) as caught,
    ):
        hub.get("/whoami")
    assert caught.value.hint == f"Make a token at {url}/hub/token and set NABLAHUB_TOKEN to it."


def test_no_hub_known_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NABLAHUB_URL", "NABLAHUB_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(NoHub, match="nablahub up"):
        connect(state=StateDir(tmp_path))


class Elsewhere(BaseHTTPRequestHandler):
    """Refuses without a problem document, as a hub does off the service's address."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.mark.parametrize("given", ["https://hub.example.org", "https://hub.example.org:8443/"])
def test_the_address_that_people_open_stands_for_the_service_there(
    given: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NABLAHUB_URL", given)
    monkeypatch.setenv("NABLAHUB_TOKEN", "t")
    with connect() as hub:
        assert hub.url == given.rstrip("/") + "/services/nablahub"
    with connect(f"{given.rstrip('/')}/ml/services/nablahub") as hub:
        assert hub.url == given.rstrip("/") + "/ml/services/nablahub"


def test_an_address_where_no_service_is_says_what_is_amiss() -> None:
    with serving(Elsewhere) as url, connect(f"{url}/ml", "t") as hub:
        with pytest.raises(errors.Unavailable) as caught:
            hub.get("/projects")
        assert (
            caught.value.detail
            == f"What answers at {url}/ml is no NablaHub service (403 Forbidden)."
        )
        assert "ends in /services/nablahub" in caught.value.hint


def test_events_of_a_long_quiet_time_outlive_any_number_of_cuts() -> None:
    Restless.calls = 0
    with serving(Restless) as url, Transport(url, "t", tries=1) as hub:
        found = [(event.event, event.data) for event in hub.events()]
    assert found == [("message", {"a": 1}), ("end", {})]


def test_events_are_read_as_the_standard_says() -> None:
    lines = [
        ": a comment", "id: 7", 'data: {"a":', "data: 1}", "", ": still here", "",
        "event: end", "", 'data:{"b":2}', "",
    ]  # fmt: skip
    found = [(e.id, e.event, e.data) for e in parse_sse(iter(lines))]
    assert found == [("7", "message", {"a": 1}), ("7", "end", {}), ("7", "message", {"b": 2})]


def test_a_local_hubs_token_goes_to_no_other_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NABLAHUB_URL", "NABLAHUB_TOKEN", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    state = StateDir(tmp_path).make()
    local = "http://127.0.0.1:8000/services/nablahub"
    state.client.parent.mkdir(parents=True, exist_ok=True)
    state.client.write_text(json.dumps({"url": local, "token": "local"}))
    for url in (None, "http://127.0.0.1:8000"):
        with connect(url, state=state) as hub:
            assert hub.url == local
    with pytest.raises(NoHub, match="NABLAHUB_TOKEN is not set"):
        connect("https://hub.example.org", state=state)
