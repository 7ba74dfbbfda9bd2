"""The requests by which a task's pod brings out what there is; each of them may be repeated.

A part of the log says its offset, and the service tells how much it has; a tree replaces what came
of it before. Standard library only.
"""

from __future__ import annotations

import http.client
import json
import os
import stat
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, cast
from urllib.parse import urlsplit

API = "/api/v1"
_LONGEST_WAIT = 5.0
_TIMEOUT = 60.0
#: As many characters does the service take.
_LONGEST_WORDS = 16_000
_REFUSALS = (400, 401, 403, 404, 409, 413, 422)


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

    def tree(
        self,
        part: str,
        root: Path,
        *,
        once: bool = False,
        beside: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Send a folder as a tar archive, made while it is sent.

        Parameters
        ----------
        beside
            Files that lie elsewhere: the names that they get, with where they are.
        once
            Whether it is not tried again when that fails: it is sent later anyway.
        """

        def ask(connection: http.client.HTTPConnection) -> None:
            connection.putrequest("PUT", f"{self._url.path}/files/{part}")
            for name, value in {**self._headers(), "Transfer-Encoding": "chunked"}.items():
                connection.putheader(name, value)
            connection.endheaders()
            body = _Chunked(connection)
            with tarfile.open(mode="w|", fileobj=cast("IO[bytes]", body)) as archive:
                _add(archive, root, beside)
            connection.send(b"0\r\n\r\n")

        self._patiently(ask, once=once)

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": f"Bearer {self._token}",
            "Content-Type": "application/octet-stream",
        }

    def _patiently(self, ask: Any, *, once: bool = False) -> bytes:
        """Ask until there is an answer: the service may be restarted or away for a while."""
        wait = 0.05
        while True:
            try:
                if self._connection is None:
                    self._connection = self._connect()
                ask(self._connection)
                answer = self._connection.getresponse()
                body = answer.read()
                if answer.status < 300:
                    return body
                if answer.status in _REFUSALS:
                    raise Refused(f"{answer.status}: {body[:500].decode(errors='replace')}")
            except (OSError, http.client.HTTPException):
                pass  # Tried again below, on a new connection.
            self.close()
            if once:
                return b""
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else None
        made = kind or http.client.HTTPConnection
        return made(self._url.hostname or "", self._url.port, timeout=_TIMEOUT)

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Chunked:
    """Writes into a request whose length is not known (RFC 9112, 7.1)."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def write(self, data: bytes) -> int:
        """Send one chunk."""
        if data:
            self._connection.send(b"%x\r\n%b\r\n" % (len(data), data))
        return len(data)


def _add(archive: tarfile.TarFile, root: Path, beside: Mapping[str, str]) -> None:
    """Put the folders and regular files of a tree into an archive; links stay where they are."""
    taken = {name.partition("/")[0] for name in beside}
    for folder, folders, files in os.walk(root):
        if Path(folder) == root and taken:  # What comes beside has its name for itself.
            folders[:] = [name for name in folders if name not in taken]
            files = [name for name in files if name not in taken]
        for name in (*sorted(folders), *sorted(files)):
            path = Path(folder, name)
            _add_file(archive, path, str(path.relative_to(root)))
    for name, where in beside.items():
        _add_file(archive, Path(where), name)


def _add_file(archive: tarfile.TarFile, path: Path, name: str) -> None:
    try:
        entry = archive.gettarinfo(path, name)
        if entry.isdir():
            archive.addfile(entry)
        elif stat.S_ISREG(path.lstat().st_mode):
            entry.type, entry.linkname = tarfile.REGTYPE, ""  # Not as a second link.
            entry.size = path.lstat().st_size
            with path.open("rb") as file:
                archive.addfile(entry, file)
    except FileNotFoundError:
        return  # Gone meanwhile.
