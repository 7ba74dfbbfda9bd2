"""The HTTP layer, spoken to through raw sockets: limits, time-outs, pipelining, draining."""

import json
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from nablahub.serving.limits import Limits
from tests.unit.serving.process import KEY, ModelServer

REQUEST = json.dumps(
    {"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
).encode()
AUTH = f"Authorization: Bearer {KEY}\r\n".encode()


@contextmanager
def connection(server: ModelServer) -> Iterator[socket.socket]:
    with socket.create_connection(server.address, timeout=30) as sock:
        yield sock


def post(body: bytes, more: bytes = b"", length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = b"POST /v2/models/iris/infer HTTP/1.1\r\nHost: x\r\n" + AUTH + more
    return head + b"Content-Length: %d\r\n\r\n" % size + body


def read_all(sock: socket.socket) -> bytes:
    """Read until the server closes."""
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def read_answer(sock: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer of a kept connection."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(65536)
        assert part, data
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    while len(body) < int(headers["content-length"]):
        body += sock.recv(65536)
    assert len(body) == int(headers["content-length"])
    return int(lines[0].split()[1]), headers, body


def test_answers_carry_the_security_headers(client: httpx.Client) -> None:
    for path in ("/v2", "/nothing"):
        headers = client.get(path).headers
        assert headers["content-type"] == "application/json"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "sandbox allow-scripts"
        assert headers["cache-control"] == "no-store"
        assert headers["date"].endswith("GMT")


def test_pipelined_requests_are_answered_in_order(iris: ModelServer) -> None:
    bodies = [json.dumps({**json.loads(REQUEST), "id": str(i)}).encode() for i in range(100)]
    with connection(iris) as sock:
        sender = threading.Thread(target=sock.sendall, args=(b"".join(map(post, bodies)),))
        sender.start()
        data = b""
        ids: list[str] = []
        while len(ids) < 100:
            data += sock.recv(65536)
            while b"\r\n\r\n" in data:
                head, _, rest = data.partition(b"\r\n\r\n")
                size = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                if len(rest) < size:
                    break
                ids.append(json.loads(rest[:size])["id"])
                data = rest[size:]
        sender.join()
    assert ids == [str(i) for i in range(100)]


def test_a_request_may_come_byte_by_byte(iris: ModelServer) -> None:
    with connection(iris) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for i in range(len(whole := post(REQUEST))):
            sock.send(whole[i : i + 1])
        assert read_answer(sock)[0] == 200


def test_chunks_are_taken(iris: ModelServer) -> None:
    head = post(b"", b"Transfer-Encoding: chunked\r\n").replace(b"Content-Length: 0\r\n", b"")
    chunks = b"".join(b"%x\r\n%s\r\n" % (1, REQUEST[i : i + 1]) for i in range(len(REQUEST)))
    with connection(iris) as sock:
        sock.sendall(head + chunks + b"0\r\n\r\n")
        assert read_answer(sock)[0] == 200


def test_expect_100_is_answered_before_the_body(iris: ModelServer) -> None:
    with connection(iris) as sock:
        sock.sendall(post(b"", b"Expect: 100-continue\r\n", len(REQUEST)))
        assert sock.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(REQUEST)
        assert read_answer(sock)[0] == 200


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_a_large_body_is_refused_with_limit_and_size(iris: ModelServer, expect: bytes) -> None:
    with connection(iris) as sock:
        sock.sendall(post(b"", expect, 5_000_000))
        status, headers, body = read_answer(sock)
        assert status == 413
        assert headers["connection"] == "close"
        assert "200000 bytes" in json.loads(body)["error"]
        assert "5000000 bytes" in json.loads(body)["error"]


def test_a_client_that_sends_all_of_a_large_body_still_gets_its_answer(
    client: httpx.Client,
) -> None:
    answer = client.post("/v2/models/iris/infer", content=b"x" * 3_000_000)
    assert answer.status_code == 413
    assert client.get("/v2").status_code == 200


def test_a_large_chunked_body_is_refused(iris: ModelServer) -> None:
    head = post(b"", b"Transfer-Encoding: chunked\r\n").replace(b"Content-Length: 0\r\n", b"")
    with connection(iris) as sock:
        sock.sendall(head + b"186a1\r\n" + b" " * 0x186A1 + b"\r\n")
        sock.sendall(b"186a1\r\n" + b" " * 0x186A1 + b"\r\n")
        assert read_answer(sock)[0] == 413


def test_without_a_key_a_large_body_is_not_taken(iris: ModelServer) -> None:
    with connection(iris) as sock:
        sock.sendall(post(b"", length=150_000).replace(AUTH, b""))
        status, headers, _ = read_answer(sock)
        assert (status, headers["connection"]) == (401, "close")


def test_without_a_key_a_small_request_keeps_the_connection(iris: ModelServer) -> None:
    with connection(iris) as sock:
        sock.sendall(post(REQUEST).replace(AUTH, b""))
        assert read_answer(sock)[0] == 401
        sock.sendall(post(REQUEST))
        assert read_answer(sock)[0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (b"GET /v2 HTTP/1.1\r\n" + b"X: " + b"y" * 40_000 + b"\r\n\r\n", 431),
        (b"GET /v2 HTTP/1.1\r\n" + b"".join(b"X%d: y\r\n" % i for i in range(9000)), 431),
        (b"GET /" + b"y" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (b"GET /" + b"y" * 100_000, 431),
        (post(REQUEST, b"Content-Encoding: gzip\r\n"), 415),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else None,
)
def test_what_is_not_http_is_refused_and_closed(
    iris: ModelServer, sent: bytes, status: int
) -> None:
    with connection(iris) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        data = read_all(sock)
    assert data.startswith(b"HTTP/1.1 %d " % status), data[:200]
    assert data.count(b"HTTP/1.1") == 1
    assert "error" in json.loads(data.partition(b"\r\n\r\n")[2])


def test_a_wish_to_upgrade_is_answered_in_http_1(iris: ModelServer) -> None:
    more = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n"
    with connection(iris) as sock:
        for request in (post(REQUEST, more), b"GET /v2 HTTP/1.1\r\n" + AUTH + more + b"\r\n"):
            sock.sendall(request)
            assert read_answer(sock)[0] == 200
        for byte in post(REQUEST, more):
            sock.send(bytes([byte]))
        assert read_answer(sock)[0] == 200


def test_http_1_0_is_answered_and_closed(iris: ModelServer) -> None:
    with connection(iris) as sock:
        sock.sendall(b"GET /v2 HTTP/1.0\r\n" + AUTH + b"\r\n")
        assert read_all(sock).startswith(b"HTTP/1.1 200 OK")


def test_a_half_closed_client_gets_its_answer(iris: ModelServer) -> None:
    with connection(iris) as sock:
        sock.sendall(post(REQUEST))
        sock.shutdown(socket.SHUT_WR)
        assert read_all(sock).startswith(b"HTTP/1.1 200 OK")


def test_slow_clients_are_sent_away(
    iris_file: Path, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real time-outs, made short: a head, a body and an idle connection."""
    assert Limits().idle_seconds > 90
    arguments = ["--name", "iris", "--timeouts", "3"]
    with ModelServer(iris_file, keys, arguments) as server:
        server.ready()
        with connection(server) as head, connection(server) as body, connection(server) as idle:
            head.sendall(b"GET /v2 HTTP/1.1\r\nHo")
            body.sendall(post(REQUEST[:5], length=len(REQUEST)))
            idle.sendall(post(REQUEST))
            assert read_answer(idle)[0] == 200
            assert read_all(head).startswith(b"HTTP/1.1 408 ")
            assert read_all(body).startswith(b"HTTP/1.1 408 ")
            assert read_all(idle) == b""


def listens(server: ModelServer) -> bool:
    """Whether new connections are taken."""
    try:
        socket.create_connection(server.address, timeout=5).close()
    except ConnectionError:
        return False
    return True


SLOW_MODEL = """
import threading, time, pathlib
class Model:
    def load(self, folder):
        self.begun = pathlib.Path(folder) / "begun"
    def predict(self, inputs):
        self.begun.write_text(str(inputs["seconds"][0]))
        time.sleep(float(inputs["seconds"][0]))
        return {"slept": inputs["seconds"]}
"""


def begun(folder: Path) -> str:
    """Return the seconds of the run that the model began last."""
    file = folder / "begun"
    return file.read_text() if file.exists() else ""


def sleep_request(seconds: float) -> dict[str, object]:
    return {
        "inputs": [{"name": "seconds", "datatype": "FP64", "shape": [1], "data": [seconds]}],
    }


@pytest.fixture
def sleeper(tmp_path: Path, keys: Path) -> Iterator[ModelServer]:
    (tmp_path / "model.py").write_text(SLOW_MODEL)
    arguments = ["--name", "sleeper", "--format", "custom"]
    with ModelServer(tmp_path, keys, arguments) as server:
        yield server.ready()


def test_a_slow_model_does_not_keep_health_waiting(sleeper: ModelServer, tmp_path: Path) -> None:
    """Once it has been slow, runs go to a thread, and others are answered in between."""
    answers: list[int] = []

    def ask() -> None:
        with sleeper.client() as client:
            url = "/v2/models/sleeper/infer"
            answers.append(client.post(url, json=sleep_request(0.05)).status_code)
            answers.append(client.post(url, json=sleep_request(1.5)).status_code)

    asking = threading.Thread(target=ask)
    asking.start()
    with sleeper.client() as client:
        while begun(tmp_path) != "1.5":
            assert asking.is_alive()
        assert client.get("/v2/health/live").status_code == 200
        assert len(answers) == 1
    asking.join()
    assert answers == [200, 200]


def test_sigterm_lets_the_request_in_work_end(sleeper: ModelServer, tmp_path: Path) -> None:
    answers: list[httpx.Response] = []

    def ask() -> None:
        with sleeper.client() as client:
            url = "/v2/models/sleeper/infer"
            answers.append(client.post(url, json=sleep_request(1.0)))

    asking = threading.Thread(target=ask)
    asking.start()
    while begun(tmp_path) != "1.0":
        assert asking.is_alive()
    assert sleeper.stop(signal.SIGTERM) == 0
    asking.join()
    assert answers[0].status_code == 200
    assert answers[0].json()["outputs"][0]["data"] == [1.0]


def test_after_sigterm_a_kept_connection_is_answered_once_more(iris_file: Path, keys: Path) -> None:
    arguments = ["--name", "iris", "--linger", "60", "--drain", "60"]
    with ModelServer(iris_file, keys, arguments) as server:
        with connection(server.ready()) as sock:
            sock.sendall(post(REQUEST))
            assert read_answer(sock)[0] == 200
            server.process.send_signal(signal.SIGTERM)
            while listens(server):
                pass
            sock.sendall(post(REQUEST))
            status, headers, _ = read_answer(sock)
            assert (status, headers["connection"]) == (200, "close")
        assert server.process.wait(30) == 0
