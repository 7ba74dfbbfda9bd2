"""The requests by which a task's pod brings out what there is; each of them may be repeated.

A part of the log says its offset, and the service tells how much it has; a tree replaces what came
of it before. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import stat
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import IO, Any, cast
from urllib.parse import urlsplit

from nablahub.jobs.runners.kubernetes.inside.leaving import Item, Left, Unkept, Unreadable

API = "/api/v1"
_LONGEST_WAIT = 5.0
_TIMEOUT = 60.0
#: As many characters does the service take.
_LONGEST_WORDS = 16_000
_PIECE = 1 << 18
#: 507: its disk is full, and a command whose files wait for that can do nothing about it.
_REFUSALS = (400, 401, 403, 404, 409, 413, 422, 507)
#: By which the service tells of its own faults, and how many times a tree is sent again then.
_FAILED, _TRIES = 500, 5
type Ask = Callable[[http.client.HTTPConnection], None]


class Refused(Exception):
    """The service will not take it, however often it is asked."""


class Service:
    """The requests that the pod makes of the service.

    Parameters
    ----------
    url
        The task's own address, such as `http://hub:8081/services/nablahub/api/v1/jobs/j1/task`.
    token
        The token by which the job's log and files are delivered.
    node
        Which of the task's several nodes this is; None when there is one.
    source
        Whose log it is, of a server with several pods.
    """

    def __init__(self, url: str, token: str, *, node: int | None = None, source: str = "") -> None:
        self._url = urlsplit(url)
        self._token = token
        self.node = node
        self._whose = "" if node is None else f"&node={node}"
        self._whose += f"&source={source}" if source else ""
        self._connection: http.client.HTTPConnection | None = None

    @classmethod
    def of(cls, task: dict[str, Any], node: int) -> Service:
        """The service as `delivery.json` names it, for one of the task's nodes."""
        service = task["service"]
        several = node if task["nodes"] > 1 else None
        return cls(service["url"] + task["path"], service["token"], node=several)

    def log(self, offset: int, part: bytes) -> int:
        """Send a part of the log and return how many bytes of it the service has now."""
        path = f"{self._url.path}/log?offset={offset}{self._whose}"

        def ask(connection: http.client.HTTPConnection) -> None:
            connection.request("PUT", path, body=part, headers=self._headers())

        return int(json.loads(self._patiently(ask))["size"])

    def unsaved(self, words: str) -> None:
        """Tell that everything of writable buckets is where it shall be, or what is not."""
        body = json.dumps({"stage": "over", "words": words[:_LONGEST_WORDS]}).encode()

        def ask(connection: http.client.HTTPConnection) -> None:
            headers = {**self._headers(), "Content-Type": "application/json"}
            connection.request("PUT", f"{self._url.path}/buckets", body=body, headers=headers)

        self._patiently(ask)

    def tree(self, part: str, left: Left, *, once: bool = False) -> None:
        """Send what a command left as a tar archive, made while it is sent.

        Parameters
        ----------
        once
            Whether it is not tried again when that fails: it is sent later anyway.

        Raises
        ------
        Refused
            The service does not take it.
        nablahub.jobs.runners.kubernetes.inside.leaving.Unkept
            It cannot be sent.
        """

        def ask(connection: http.client.HTTPConnection) -> None:
            connection.putrequest("PUT", f"{self._url.path}/files/{part}")
            for name, value in {**self._headers(), "Transfer-Encoding": "chunked"}.items():
                connection.putheader(name, value)
            connection.endheaders()
            body = cast("IO[bytes]", _Chunked(connection))
            with tarfile.open(mode="w|", fileobj=body, bufsize=_PIECE) as archive:
                _add(archive, left)
            connection.send(b"0\r\n\r\n")

        while True:
            try:
                self._patiently(ask, once=once, tries=_TRIES)
            except Unkept:
                self.close()
                raise
            except Unreadable as error:  # In the midst of it: the archive is begun anew without it.
                self.close()
                if not once:
                    left.leave_out(error.name, error.why)
                    continue
            return

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/octet-stream",
        }

    def _patiently(self, ask: Ask, *, once: bool = False, tries: int | None = None) -> bytes:
        """Ask until there is an answer: the service may be restarted or away for a while.

        Parameters
        ----------
        tries
            How many times the service may fail on it; None: for ever.
        """
        wait = 0.05
        while True:
            try:
                answer = self._answer(ask)
                body = answer.read()
                if answer.status < 300:
                    return body
                if tries is not None and answer.status == _FAILED:
                    tries -= 1
                if answer.status in _REFUSALS or tries == 0:
                    self.close()
                    raise Refused(_words(answer.status, body))
            except (OSError, http.client.HTTPException):
                pass  # Tried again below, on a new connection.
            self.close()
            if once:
                return b""
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _answer(self, ask: Ask) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        try:
            ask(self._connection)
        except (_AnsweredError, ConnectionError):
            # It may have said why it takes no more.
            if self._connection.sock is None:
                raise
        return self._connection.getresponse()

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else None
        made = kind or http.client.HTTPConnection
        return made(self._url.hostname or "", self._url.port, timeout=_TIMEOUT)

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _AnsweredError(Exception):
    """There is an answer though not everything was sent."""


class _Chunked:
    """Writes into a request whose length is not known (RFC 9112, 7.1)."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> int:
        """Send one chunk, unless nobody wants it any more."""
        if select.select([self._connection.sock], [], [], 0)[0]:
            raise _AnsweredError
        if data:
            self._connection.send(b"%x\r\n%b\r\n" % (len(data), data))
        return len(data)


class _Content:
    """The bytes of a file, as many as were promised."""

    def __init__(self, item: Item) -> None:
        self._item = item

    def read(self, size: int) -> bytes:
        """Read so many bytes; Unreadable when they are not there."""
        assert self._item.file is not None
        parts = bytearray()
        while len(parts) < size:
            try:
                data = os.read(self._item.file, size - len(parts))
            except OSError as error:
                raise Unreadable(self._item.name, f"unreadable: {error.strerror}") from error
            if not data:
                raise Unreadable(self._item.name, "shorter than it was when it was looked at")
            parts += data
        return bytes(parts)


def _add(archive: tarfile.TarFile, left: Left) -> None:
    for item in _items(left):
        entry = tarfile.TarInfo(item.name)
        entry.mode, entry.mtime = stat.S_IMODE(item.status.st_mode), int(item.status.st_mtime)
        if item.file is None:
            entry.type = tarfile.DIRTYPE
            archive.addfile(entry)
        else:
            entry.size = item.status.st_size
            archive.addfile(entry, cast("IO[bytes]", _Content(item)))
        archive.members.clear()  # type: ignore[attr-defined]  # it would keep them all


def _items(left: Left) -> Iterator[Item]:
    """Yield what is to be sent; no fault of this machine is taken for one of the connection."""
    try:
        yield from left.items()
    except OSError as error:
        raise Unkept(f"What it left can't be read: {error.strerror}.") from error


def _words(status: int, body: bytes) -> str:
    """Why the service refused, in its own words where it has any (RFC 9457)."""
    try:
        problem = json.loads(body)
        return " ".join(filter(None, (problem["detail"], problem.get("hint"))))
    except (ValueError, TypeError, KeyError):
        return f"{status}: {body[:500].decode(errors='replace')}"
