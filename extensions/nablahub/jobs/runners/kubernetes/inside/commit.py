"""The second container of a task's pod: brings the log out while it is written, then the files.

It waits for the command's end by a lock that the kernel takes from the supervisor when that ends,
however it ends. Standard library only.

Each request may be repeated: a part of the log says its offset, and the service tells how much it
has; a tree replaces what came of it before.
"""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import select
import signal
import stat
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit

from nablahub.jobs.runners.kubernetes.inside import places

_PART = 4 << 20
#: Of one of several nodes, a line that is not finished is held back, up to so many bytes.
_LINE = 64 << 10
_LONGEST_WAIT = 5.0
#: Seconds between two looks at the artifacts of a command that runs, and the bytes up to which they
#: are sent before its end.
_LOOK = 3.0
_SMALL = 64 << 20
_TIMEOUT = 60.0
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

    def log(self, offset: int, part: bytes) -> int:
        """Send a part of the log and return how many bytes of it the service has now."""
        path = f"{self._url.path}/log?offset={offset}{self._whose}"

        def ask(connection: http.client.HTTPConnection) -> None:
            connection.request("PUT", path, body=part, headers=self._headers())

        return int(json.loads(self._patiently(ask))["size"])

    def tree(self, part: str, root: Path, *, once: bool = False) -> None:
        """Send a folder as a tar archive, made while it is sent.

        Parameters
        ----------
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
                _add(archive, root)
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
            self._close()
            if once:
                return b""
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._url.scheme == "https" else None
        made = kind or http.client.HTTPConnection
        return made(self._url.hostname or "", self._url.port, timeout=_TIMEOUT)

    def _close(self) -> None:
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


def _add(archive: tarfile.TarFile, root: Path) -> None:
    """Put the folders and regular files of a tree into an archive; links stay where they are."""
    for folder, folders, files in os.walk(root):
        for name in (*sorted(folders), *sorted(files)):
            path = Path(folder, name)
            try:
                entry = archive.gettarinfo(path, str(path.relative_to(root)))
                if entry.isdir():
                    archive.addfile(entry)
                elif stat.S_ISREG(path.lstat().st_mode):
                    entry.type, entry.linkname = tarfile.REGTYPE, ""  # Not as a second link.
                    entry.size = path.lstat().st_size
                    with path.open("rb") as file:
                        archive.addfile(entry, file)
            except FileNotFoundError:
                continue  # Gone meanwhile.


class Artifacts:
    """Sends a folder while it is written: now and then, when it has changed and is not large.

    Parameters
    ----------
    service
        Who gets it.
    root
        The folder.
    """

    def __init__(self, service: Service, root: Path) -> None:
        self._service = service
        self._root = root
        self._sent: list[tuple[str, int, int]] = []
        self.due = time.monotonic() + _LOOK

    def look(self) -> None:
        """Send the folder when it is time to, and note when it will be again."""
        begun = time.monotonic()
        if begun < self.due:
            return
        found = self._found()
        if found != self._sent and sum(size for _, size, _ in found) <= _SMALL:
            self._service.tree("artifacts", self._root, once=True)
            self._sent = found
        now = time.monotonic()
        # Large ones less often, so that the log is not held up for long.
        self.due = now + max(_LOOK, 20 * (now - begun))

    def _found(self) -> list[tuple[str, int, int]]:
        found = []
        for folder, _, names in os.walk(self._root):
            for name in names:
                path = os.path.join(folder, name)  # noqa: PTH118 - of perhaps many files
                try:
                    status = os.lstat(path)
                except OSError:
                    continue  # Gone meanwhile.
                found.append((path, status.st_size, status.st_mtime_ns))
        return sorted(found)


def send_log(service: Service, ended: int, artifacts: Artifacts | None = None) -> None:
    """Send the log as it grows, until `ended` is readable and all of it is sent.

    What the service has is given back to the disk, so that a long log never fills it.
    """
    grown = places.watch(places.SHARED)
    log = os.open(places.LOG, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    offset = freed = 0
    while True:
        last = bool(select.select([ended], [], [], 0)[0])
        while part := _next_part(log, offset, lines=service.node is not None and not last):
            offset = service.log(offset, part)
            if offset - freed >= _PART:
                places.free(log, offset)
                freed = offset
        if last:
            return
        if artifacts is not None:
            artifacts.look()
        patience = max(artifacts.due - time.monotonic(), 0) if artifacts is not None else None
        select.select([grown, ended], [], [], patience)
        places.drain(grown)


def _next_part(log: int, offset: int, *, lines: bool) -> bytes:
    part = os.pread(log, _PART, offset)
    if not lines:
        return part
    whole = part[: part.rfind(b"\n") + 1]
    return part if not whole and len(part) >= _LINE else whole


def wait_for_end(tell: int) -> None:
    """Close a descriptor once the command's parent has ended."""
    lock = os.open(places.LOCK, os.O_RDONLY | os.O_CLOEXEC)
    fcntl.flock(lock, fcntl.LOCK_SH)
    os.close(tell)


def main() -> int:
    """Bring everything out and return 0; 1 when the service does not take it."""
    for number in (signal.SIGTERM, signal.SIGINT):
        # The pod is being deleted: what there is still goes out, within the pod's grace.
        signal.signal(number, lambda *_: None)
    task = json.loads(places.DELIVERY.read_text(encoding="utf-8"))
    node = places.node()
    begun = places.watch(places.SHARED)
    while not places.BEGUN.exists():
        select.select([begun], [], [])
        places.drain(begun)
    ended, tell = os.pipe()
    threading.Thread(target=wait_for_end, args=(tell,), daemon=True).start()
    url = task["service"]["url"] + task["path"]
    service = Service(url, task["service"]["token"], node=node if task["nodes"] > 1 else None)
    try:
        artifacts = Artifacts(service, Path("/artifacts")) if node == 0 else None
        send_log(service, ended, artifacts)
        if node > 0:
            return 0  # What the first node leaves is kept.
        service.tree("artifacts", Path("/artifacts"))
        if task["outputs"] and _succeeded():
            service.tree("outputs", Path("/outputs"))
    except Refused as error:
        places.TERMINATION.write_text(str(error)[: places.TERMINATION_BYTES // 4])
        return 1
    return 0


def _succeeded() -> bool:
    try:
        report = json.loads(places.ENDED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(report["verdict"] == "code" and report["exit_code"] == 0)


if __name__ == "__main__":
    sys.exit(main())
