"""HTTP/1.1 on httptools: limits, time-outs, keep-alive, pipelining and draining.

Written by hand, since the same work behind granian (RSGI) takes 1.4 times as long, on one
connection as on sixteen; ``tests/benchmarks/serving.py`` measures both.
"""

import asyncio
import email.utils
import time
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Literal, Protocol, cast
from urllib.parse import unquote

import httptools

from nablahub.serving.limits import Limits
from nablahub.serving.messages import SECURITY_HEADERS, Request, Response, dump

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_FIXED = "".join(f"{name}: {value}\r\n" for name, value in SECURITY_HEADERS.items())
_KEEP, _CLOSE = "", "Connection: close\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# A refused body up to this size is read and dropped, which keeps the connection usable.
_SMALL_BODY = 64 * 1024
_NEVER = float("inf")


class App(Protocol):
    """What answers the requests."""

    def admit(self, headers: Mapping[bytes, bytes]) -> Response | None:
        """Return the refusal of a request, judged by its headers, or None."""

    def slow(self, request: Request) -> bool:
        """Whether a thread must answer it."""

    def handle(self, request: Request) -> Response:
        """Answer it; never raises."""


class Shared:
    """What all connections of a server share.

    Parameters
    ----------
    app
        Answers the requests.
    limits
        Of each connection.
    executor
        Answers the slow requests.
    """

    def __init__(self, app: App, limits: Limits, executor: Executor) -> None:
        self.app = app
        self.limits = limits
        self.executor = executor
        self.connections: set[Connection] = set()
        self.draining = False
        self.date = ""
        self.tick()

    def tick(self) -> None:
        """Do what is due each second: the date, and the connections that are too slow."""
        self.date = email.utils.formatdate(usegmt=True)
        now = time.monotonic()
        for connection in list(self.connections):
            if connection.deadline <= now:
                connection.time_out()


@dataclass(slots=True)
class _Pending:
    """A request that waits for its answer, or a refusal that waits for its turn."""

    request: Request | None
    refusal: Response | None
    end: Literal["keep", "close", "linger"]


class Connection(asyncio.Protocol):
    """One client's connection; requests are answered in the order they came."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._limits = shared.limits
        self.deadline = _NEVER
        self._on_deadline: Callable[[], None] = self.close
        self._transport: asyncio.Transport
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[_Pending] = deque()
        self._busy = False  # a thread is answering
        self._choked = False  # the client doesn't read
        self._paused = False  # we don't read
        self._deaf = False  # whatever else comes is dropped
        self._ended = False  # the client sends no more
        self._in_head = False
        self._in_message = False
        self._head_bytes = 0
        self._begin()

    def _begin(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._stage = ""
        self._stage_start = 0.0
        self._refusal: Response | None = None

    @property
    def idle(self) -> bool:
        """Whether no request is on its way in, being answered, or waiting."""
        return not (self._busy or self._waiting or self._in_message)

    def close(self) -> None:
        """Close when what is written has been sent."""
        self._deaf = True
        self._waiting.clear()
        self._transport.close()

    def time_out(self) -> None:
        """Do what the passed deadline calls for."""
        self.deadline = _NEVER
        self._on_deadline()

    def _expect(self, seconds: float, then: Callable[[], None]) -> None:
        self.deadline = time.monotonic() + seconds
        self._on_deadline = then

    def _too_slow(self) -> None:
        part = "headers" if self._in_head else "body"
        self._refuse(408, f"the request's {part} came too slowly")

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a new client, unless there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        shared = self._shared
        if len(shared.connections) >= self._limits.connections or shared.draining:
            busy = "the server takes no more connections now; try again in a moment"
            self._write(Response(503, dump({"error": busy}), {"Retry-After": "1"}), keep=False)
            self.close()
            return
        shared.connections.add(self)
        self._expect(self._limits.head_seconds, self.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._deaf = True
        self._waiting.clear()
        self.deadline = _NEVER
        self._shared.connections.discard(self)

    def pause_writing(self) -> None:
        """The client doesn't read its answers: take nothing more from it."""
        self._choked = True
        self._pause()
        self._expect(self._limits.write_seconds, self._transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._choked = False
        self.deadline = _NEVER
        self._next()

    def eof_received(self) -> bool:
        """The client sends no more: answer what is due, then close."""
        self._deaf = self._ended = True
        return self._busy or bool(self._waiting)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._deaf:
            return
        if self._in_head or not self._in_message:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._stay_http1(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._refuse(400, f"this is not a valid HTTP request: {error}")
        if self._in_head and self._head_bytes > self._limits.head:
            self._refuse(431, f"the request's headers are larger than {self._limits.head} bytes")
        if self._in_message:
            self._watch()

    def _watch(self) -> None:
        """Give what hasn't come yet its time: a head, or a body by its size so far."""
        limits, now = self._limits, time.monotonic()
        stage = "head" if self._in_head else "body"
        if stage != self._stage:
            self._stage, self._stage_start = stage, now
        allowed = limits.head_seconds
        if stage == "body":
            allowed = limits.body_seconds + self._body_bytes / limits.body_rate
        self.deadline = self._stage_start + allowed
        self._on_deadline = self._too_slow

    def _stay_http1(self, rest: bytes) -> None:
        """Ignore a wish to upgrade, as RFC 9110 7.8 allows; Java's client wishes it by default.

        The parser stops behind the head of such a request, so a new one gets the head again,
        without the wish, and then the body.
        """
        method = self._parser.get_method()
        if method == b"CONNECT" or self._deaf:
            self._refuse(405, "this server is no proxy")
            return
        kept = {k: v for k, v in self._headers.items() if k not in (b"upgrade", b"connection")}
        head = b"".join(b"%s: %s\r\n" % item for item in kept.items())
        self._parser = httptools.HttpRequestParser(self)
        self._in_head = self._in_message = False
        self.data_received(b"%s %s HTTP/1.1\r\n%s\r\n" % (method, self._url, head) + rest)

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A request starts."""
        if self._deaf:
            return
        self._begin()
        self._in_head = self._in_message = True

    def on_url(self, url: bytes) -> None:
        """A part of the target came."""
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came; of several with one name the first counts."""
        self._headers.setdefault(name.lower(), value)

    def on_headers_complete(self) -> None:
        """Judge the request before its body is read."""
        if self._deaf or self._parser.should_upgrade():
            return
        self._in_head = False
        large = self._head_bytes > self._limits.head
        self._head_bytes = 0
        limits, headers = self._limits, self._headers
        length = int(headers.get(b"content-length", b"0"))
        if large and sum(len(k) + len(v) + 4 for k, v in headers.items()) > limits.head:
            self._refuse(431, f"the request's headers are larger than {limits.head} bytes")
            return
        if len(self._url) > limits.url:
            self._refuse(414, f"the address is longer than {limits.url} bytes")
            return
        refusal = self._shared.app.admit(headers)
        if refusal is not None and (length > _SMALL_BODY or b"transfer-encoding" in headers):
            self._end_with(refusal)
            return
        self._refusal = refusal
        if refusal is None and length > limits.body:
            self._refuse(413, _too_large(length, limits.body))
            return
        if headers.get(b"content-encoding", b"identity").lower() != b"identity":
            self._refuse(415, "this server takes bodies without a Content-Encoding only")
            return
        if headers.get(b"expect", b"").lower() == b"100-continue":
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        """A part of the body came."""
        if self._deaf:
            return
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body:
            self._refuse(413, _too_large(None, self._limits.body))
        elif self._refusal is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """A request is whole."""
        if self._deaf or self._parser.should_upgrade():
            return
        self._in_message = False
        self.deadline = _NEVER
        parser = self._parser
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        method = parser.get_method().decode("ascii")
        request = Request(method, _path(self._url), self._headers, body)
        end: Literal["keep", "close"] = "keep" if parser.should_keep_alive() else "close"
        self._waiting.append(_Pending(request, self._refusal, end))
        self._body = []
        if len(self._waiting) > self._limits.pipelined:
            self._pause()
        self._next()

    # Answering.

    def _refuse(self, status: int, message: str) -> None:
        if not self._deaf:
            self._end_with(Response(status, dump({"error": message})))

    def _end_with(self, response: Response) -> None:
        """Answer, after those before it, a request that isn't whole; drop the rest of it."""
        self._deaf = True
        self._in_head = self._in_message = False
        self.deadline = _NEVER
        self._waiting.append(_Pending(None, response, "linger"))
        self._next()

    def _next(self) -> None:
        """Answer the waiting requests, one after the other."""
        app = self._shared.app
        while self._waiting and not (self._busy or self._choked):
            pending = self._waiting.popleft()
            if pending.request is None or pending.refusal is not None:
                assert pending.refusal is not None
                self._answer(pending.refusal, pending)
            elif app.slow(pending.request):
                self._busy = True
                loop = asyncio.get_running_loop()
                future = loop.run_in_executor(self._shared.executor, app.handle, pending.request)
                future.add_done_callback(partial(self._done, pending))
            else:
                self._answer(app.handle(pending.request), pending)
        if self._paused and not (self._busy or self._choked or self._deaf):
            self._paused = False
            self._transport.resume_reading()

    def _done(self, pending: _Pending, future: asyncio.Future[Response]) -> None:
        self._busy = False
        if future.cancelled() or self._transport.is_closing():
            return
        self._answer(future.result(), pending)
        self._next()

    def _answer(self, response: Response, pending: _Pending) -> None:
        keep = pending.end == "keep" and not self._shared.draining
        head_only = pending.request is not None and pending.request.method == "HEAD"
        self._write(response, keep, head_only)
        if pending.end == "linger":
            # Closing at once would reset the connection, and the client lose the answer.
            self._transport.write_eof()
            self._expect(self._limits.linger_seconds, self._transport.abort)
        elif not keep or (self._ended and not self._waiting):
            self.close()
        elif not (self._in_message or self._choked):
            self._expect(self._limits.idle_seconds, self.close)

    def _write(self, response: Response, keep: bool, head_only: bool = False) -> None:
        more = "".join(f"{name}: {value}\r\n" for name, value in response.headers.items())
        head = (
            f"HTTP/1.1 {response.status} {_REASONS[response.status]}\r\n"
            f"Content-Type: {response.content_type}\r\nContent-Length: {len(response.body)}\r\n"
            f"Date: {self._shared.date}\r\n{_FIXED}{more}"
            f"{_KEEP if keep else _CLOSE}\r\n"
        ).encode("latin-1")
        # One write is one segment: a head sent alone would wait for a delayed ACK.
        self._transport.write(head if head_only else head + response.body)

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()


def _path(url: bytes) -> str:
    path = url.partition(b"?")[0].decode("latin-1")
    return unquote(path, errors="replace") if "%" in path else path


def _too_large(size: int | None, limit: int) -> str:
    said = "more than that" if size is None else f"{size} bytes"
    return f"the body may have {limit} bytes at most, this one has {said}"
