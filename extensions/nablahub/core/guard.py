"""The door through which the service reaches addresses that a user named: checked at each connect.

A name may have a public address when it is looked at and a private one a moment later, when a
library connects to it. So libraries are given a proxy (RFC 9110, 7.3.2 and 9.3.6) that listens on
the loopback address, wants a password, looks the name up once and connects to what it has checked.
"""

from __future__ import annotations

import base64
import secrets
import socket
import threading
from contextlib import suppress
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Final
from urllib.parse import urlsplit

from nablahub.core.errors import NablaError
from nablahub.core.outbound import check_address

LONGEST_HEAD: Final = 64 * 1024
CONNECT_SECONDS: Final = 5
IDLE_SECONDS: Final = 120


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


class Guard:
    """A proxy to public addresses only, started when it is first asked for."""

    def __init__(self) -> None:
        self._password = secrets.token_urlsafe(24)
        self._server: _Server | None = None
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The proxy's address, password included."""
        with self._lock:
            if self._server is None:
                self._server = _Server(("127.0.0.1", 0), self._handler())
                threading.Thread(
                    target=self._server.serve_forever, name="outbound-guard", daemon=True
                ).start()
            port = self._server.server_address[1]
        return f"http://guard:{self._password}@127.0.0.1:{port}"

    def close(self) -> None:
        """Stop."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def _handler(self) -> type[StreamRequestHandler]:
        wanted = "Basic " + base64.b64encode(f"guard:{self._password}".encode()).decode()

        class Handler(StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError, ValueError):
                    _serve(self.connection, wanted)

        return Handler


def _serve(near: socket.socket, wanted: str) -> None:
    """Answer one connection: a tunnel, or one request that is handed on."""
    near.settimeout(IDLE_SECONDS)
    head, rest = _read_head(near)
    lines = head.decode("latin-1").split("\r\n")
    method, target, version = lines[0].split(" ", 2)
    fields = [line for line in lines[1:] if line]
    given = next((f for f in fields if f.lower().startswith("proxy-authorization:")), "")
    if not secrets.compare_digest(given.partition(":")[2].strip(), wanted):
        _refuse(near, "407 Proxy Authentication Required", "The password is missing.")
        return
    tunnel = method == "CONNECT"
    url = f"https://{target}" if tunnel else target
    try:
        far = _connect(url)
    except NablaError as error:
        _refuse(near, "403 Forbidden", error.detail)
        return
    except OSError as error:
        _refuse(near, "502 Bad Gateway", str(error))
        return
    with far:
        far.settimeout(IDLE_SECONDS)
        if tunnel:
            near.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            parts = urlsplit(url)
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            kept = [f for f in fields if not f.lower().startswith(("proxy-", "connection:"))]
            new = "\r\n".join([f"{method} {path} {version}", *kept, "Connection: close", "", ""])
            far.sendall(new.encode("latin-1"))
        far.sendall(rest)
        _join(near, far)


def _connect(url: str) -> socket.socket:
    """Connect to a public address of a URL's host; BadAddress when it has none."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    error = OSError("no address")
    for address in check_address(url):
        try:
            return socket.create_connection((address, port), CONNECT_SECONDS)
        except OSError as failed:
            error = failed
    raise error


def _read_head(near: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        more = near.recv(65536)
        if not more or len(data) > LONGEST_HEAD:
            raise ValueError("not a request")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _refuse(near: socket.socket, status: str, why: str) -> None:
    # As S3 says it, so that whoever asked can tell the reason.
    body = f"<Error><Code>AddressRefused</Code><Message>{why}</Message></Error>".encode()
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    near.sendall(head.encode() + body)


def _join(near: socket.socket, far: socket.socket) -> None:
    """Carry bytes both ways until both sides have ended."""
    back = threading.Thread(target=_carry, args=(far, near), daemon=True)
    back.start()
    _carry(near, far)
    back.join()


def _carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
