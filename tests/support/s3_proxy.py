"""A proxy before an S3 that counts what passes, and may hold it up."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit


@dataclass(frozen=True)
class Passed:
    """A request that was answered."""

    method: str
    key: str
    query: dict[str, list[str]]
    sent: int
    got: int
    status: int

    @property
    def is_part(self) -> bool:
        """Whether it is a part that a client sends by a signed URL."""
        signed = "X-Amz-Signature" in self.query
        return self.method == "PUT" and signed and "partNumber" in self.query


class CountingProxy:
    """Forwards everything, Host included, so that signatures hold."""

    def __init__(self, target: str) -> None:
        self.passed: list[Passed] = []
        self._target = urlsplit(target).netloc
        self._lock = threading.Lock()
        self._change = threading.Condition(self._lock)
        #: How many more parts may pass before they are held up; None: all.
        self._parts_left: int | None = None
        self._go = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _forward(self) -> None:
                proxy.forward(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_OPTIONS = _forward

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                pass  # A client that was killed, mostly.

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def forward(self, call: BaseHTTPRequestHandler) -> None:
        """Answer one request with what the store answers."""
        body = call.rfile.read(int(call.headers.get("Content-Length", "0")))
        parts = urlsplit(call.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        if call.command == "PUT" and "partNumber" in query and not self._may_pass():
            call.close_connection = True
            return
        connection = http.client.HTTPConnection(self._target, timeout=60)
        try:
            connection.putrequest(
                call.command, call.path, skip_host=True, skip_accept_encoding=True
            )
            for name, value in call.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            data = answer.read()
        except OSError:
            call.close_connection = True
            return
        finally:
            connection.close()
        key = unquote(parts.path).lstrip("/").partition("/")[2]
        found = Passed(call.command, key, query, len(body), len(data), answer.status)
        with self._change:
            self.passed.append(found)
            self._change.notify_all()
        call.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "server", "date"):
                call.send_header(name, value)
        if answer.getheader("Content-Length") is None:
            call.send_header("Content-Length", str(len(data)))
        call.end_headers()
        call.wfile.write(data)

    def _may_pass(self) -> bool:
        with self._lock:
            if self._parts_left is None:
                return True
            self._parts_left -= 1
            if self._parts_left >= 0:
                return True
        self._go.wait(120)
        return False

    def hold_after(self, parts: int) -> None:
        """Let so many parts pass, and hold up and then lose all that follow till `release`."""
        self._go.clear()
        self._parts_left = parts

    def wait_for_parts(self, count: int, mark: int) -> None:
        """Wait until so many parts have passed since a mark."""
        with self._change:
            assert self._change.wait_for(
                lambda: sum(p.is_part for p in self.passed[mark:]) >= count, 120
            )

    def release(self) -> None:
        """Let everything pass from now on."""
        self._parts_left = None
        self._go.set()

    def since(self, mark: int) -> list[Passed]:
        """Return what has passed since there were so many."""
        with self._lock:
            return self.passed[mark:]

    def close(self) -> None:
        """Stop."""
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def counting(target: str) -> Iterator[CountingProxy]:
    """Run a proxy for the length of a ``with``."""
    proxy = CountingProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
