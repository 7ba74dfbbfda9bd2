"""How long a prediction takes: bare onnxruntime, our model server, granian, and through Traefik.

``python -m tests.benchmarks.serving [--json] [--quick]``: medians of rounds run in turns. The HTTP
layer of the model server was chosen by the row "granian": it's written by hand, on httptools,
because granian (RSGI), with the same work behind it, takes far more than a fifth longer.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import onnxruntime

from nablahub.deployments.routes import Backend, Route, build, write
from nablahub.jobs.runners.process.ports import free_port
from tests.benchmarks.report import Row, print_report
from tests.unit.deployments.local import traefik
from tests.unit.serving import graphs
from tests.unit.serving.process import KEY, ModelServer, write_keys

FEATURES, CLASSES = 64, 10
VALUES = [float(i % 17) for i in range(FEATURES)]
WORK = """
import os
import numpy as np, onnxruntime, orjson
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL"], options)

key = "Bearer " + os.environ["KEY"]

# The least that can be done for a prediction: no checks of the request but for the key.
def work(body):
    tensor = orjson.loads(body)["inputs"][0]
    rows = np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
    label, probabilities = session.run(None, {"X": rows})
    outputs = [
        {"name": "label", "datatype": "INT64", "shape": label.shape, "data": label.ravel()},
        {"name": "probabilities", "datatype": "FP32", "shape": probabilities.shape,
         "data": probabilities.ravel()},
    ]
    return orjson.dumps({"model_name": "m", "outputs": outputs},
                        option=orjson.OPT_SERIALIZE_NUMPY)
"""
GRANIAN_APP = """
from work import key, work

class App:
    async def __rsgi__(self, scope, protocol):
        body = await protocol()
        if scope.headers.get("authorization") != key:
            protocol.response_bytes(401, [], b"")
            return
        protocol.response_bytes(200, [("content-type", "application/json")], work(body))

app = App()
"""
HAND_APP = """
import asyncio, sys
import uvloop
from nablahub.serving.http import Connection, Shared
from nablahub.serving.limits import Limits
from nablahub.serving.messages import Response
from work import key, work

class App:
    def admit(self, headers):
        return None if headers[b"authorization"].decode() == key else Response(401, b"")

    def slow(self, request):
        return False

    def handle(self, request):
        return Response(200, work(request.body))

async def main():
    shared = Shared(App(), Limits(), None)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(shared), "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()

uvloop.run(main())
"""


def request(path: str) -> bytes:
    """Return a prediction request as it goes over the wire."""
    tensor = {"name": "X", "shape": [1, FEATURES], "datatype": "FP32", "data": VALUES}
    body = json.dumps({"inputs": [tensor]}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Client:
    """Kept-alive connections to one address, each with at most one request on its way."""

    def __init__(self, port: int, path: str, connections: int) -> None:
        self._request = request(path)
        self._sockets = [socket.create_connection(("127.0.0.1", port)) for _ in range(connections)]
        for sock in self._sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert self._one(self._sockets[0]).startswith(b"HTTP/1.1 200")

    def _one(self, sock: socket.socket) -> bytes:
        sock.sendall(self._request)
        return sock.recv(65536)

    def latencies(self, count: int) -> list[float]:
        """Send so many requests over all connections; return each one's milliseconds."""
        if len(self._sockets) == 1:
            return [1000 * self._timed(self._sockets[0]) for _ in range(count)]
        poll = select.epoll()
        begun: dict[int, float] = {}
        by_fd = {sock.fileno(): sock for sock in self._sockets}
        for fd, sock in by_fd.items():
            poll.register(fd, select.EPOLLIN)
            begun[fd] = perf_counter()
            sock.sendall(self._request)
        found: list[float] = []
        while by_fd:
            for fd, _ in poll.poll():
                by_fd[fd].recv(65536)
                now = perf_counter()
                found.append(1000 * (now - begun[fd]))
                if len(found) + len(by_fd) > count:
                    poll.unregister(fd)
                    del by_fd[fd]
                    continue
                begun[fd] = now
                by_fd[fd].sendall(self._request)
        poll.close()
        return found

    def _timed(self, sock: socket.socket) -> float:
        start = perf_counter()
        self._one(sock)
        return perf_counter() - start

    def close(self) -> None:
        """Close the connections."""
        for sock in self._sockets:
            sock.close()


def granian(model: Path, folder: Path) -> contextlib.AbstractContextManager[int]:
    """Run the same work behind granian's RSGI interface."""
    (folder / "granian_app.py").write_text(GRANIAN_APP)
    port = free_port()
    command = [sys.executable, "-m", "granian", "--interface", "rsgi", "--host", "127.0.0.1"]
    command += ["--port", str(port), "--workers", "1", "--loop", "uvloop", "--no-ws"]
    return worker([*command, "--log-level", "warning", "granian_app:app"], port, model, folder)


def by_hand(model: Path, folder: Path) -> contextlib.AbstractContextManager[int]:
    """Run the same work behind our own HTTP layer."""
    (folder / "hand_app.py").write_text(HAND_APP)
    port = free_port()
    return worker([sys.executable, "hand_app.py", str(port)], port, model, folder)


@contextlib.contextmanager
def worker(command: list[str], port: int, model: Path, folder: Path) -> Iterator[int]:
    """Run a server over `work`; yield its port once it listens."""
    (folder / "work.py").write_text(WORK)
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, "MODEL": str(model), "KEY": KEY}
    )
    try:
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(20)


def bare(model: Path) -> Callable[[int], list[float]]:
    """Return a timer of bare onnxruntime calls."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options)
    row = np.array([VALUES], dtype=np.float32)

    def run(count: int) -> list[float]:
        found = []
        for _ in range(count):
            start = perf_counter()
            session.run(None, {"X": row})
            found.append(1000 * (perf_counter() - start))
        return found

    return run


def measure(folder: Path, rounds: int, count: int) -> list[Row]:
    """Time everything in turns, round by round; a single timing is a round's p50."""
    model = graphs.classifier(folder / "m.onnx", FEATURES, CLASSES)
    keys = folder / "keys"
    keys.mkdir()
    write_keys(keys, [KEY])
    dynamic = folder / "dynamic"
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(ModelServer(model, keys)).ready()
        host, port = server.address
        write(dynamic / "deployments.yaml", build([Route("u", (Backend(1, (f"{host}:{port}",)),))]))
        entry = int(stack.enter_context(traefik(dynamic, folder)).rpartition(":")[2])
        hand, peer = (
            stack.enter_context(by_hand(model, folder)),
            stack.enter_context(granian(model, folder)),
        )
        path = "/v2/models/m/infer"
        addresses = {
            "ours": (port, path), "hand": (hand, path), "granian": (peer, path),
            "traefik": (entry, f"/deployments/u{path}"),
        }  # fmt: skip
        times: dict[str, list[float]] = {"bare": []}
        tails: dict[str, list[float]] = {}
        bare_call = bare(model)
        bare_call(200)
        for _ in range(rounds):
            times["bare"].append(statistics.median(bare_call(count)))
            for name, (at, where) in addresses.items():
                for connections in (1, 16):
                    client = Client(at, where, connections)
                    client.latencies(200)
                    found = client.latencies(count)
                    client.close()
                    label = f"{name} {connections}"
                    times.setdefault(label, []).append(statistics.median(found))
                    tails.setdefault(label, []).append(statistics.quantiles(found, n=100)[98])
    return rows(times, tails)


def rows(times: dict[str, list[float]], tails: dict[str, list[float]]) -> list[Row]:
    """Lay the timings out as comparisons."""
    quick = "≤ 1.2 × granian"
    return [
        Row("bare onnxruntime call, p50", "ms", times["bare"]),
        Row("model server, c=1, p50", "ms", times["ours 1"], times["bare"], command="bare call"),
        Row("model server, c=1, p99", "ms", tails["ours 1"]),
        Row("model server, c=16, p50", "ms", times["ours 16"]),
        Row("model server, c=16, p99", "ms", tails["ours 16"]),
        Row(
            "same work, HTTP by hand, c=1", "ms", times["hand 1"], times["granian 1"], quick,
            lambda r: (r.ratio or 9) <= 1.2, "granian RSGI",
        ),
        Row(
            "same work, HTTP by hand, c=16", "ms", times["hand 16"], times["granian 16"], quick,
            lambda r: (r.ratio or 9) <= 1.2, "granian RSGI",
        ),
        Row(
            "through Traefik with a key, c=1, p50", "ms", times["traefik 1"], times["bare"],
            "≤ 1 ms", lambda r: r.median <= 1, "bare call",
        ),
        Row("through Traefik with a key, c=1, p99", "ms", tails["traefik 1"]),
        Row("through Traefik with a key, c=16, p50", "ms", times["traefik 16"]),
        Row("through Traefik with a key, c=16, p99", "ms", tails["traefik 16"]),
    ]  # fmt: skip


def main() -> None:
    """Run all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    given: Any = parser.parse_args()
    rounds, count = (3, 1500) if given.quick else (7, 5000)
    with tempfile.TemporaryDirectory(prefix="nablahub-bench-") as name:
        print_report(measure(Path(name), rounds, count), as_json=given.json)


if __name__ == "__main__":
    main()
