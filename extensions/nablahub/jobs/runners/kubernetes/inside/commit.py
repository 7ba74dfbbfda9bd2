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
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
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
#: Seconds after which the service hears of us though there is nothing to send.
_PULSE = 10.0
API = "/api/v1"
#: Of our image: what the folders of buckets are brought back by wants more than Python has.
PYTHON = "/opt/nablahub/environment/bin/python"
_BRING = "nablahub.jobs.runners.kubernetes.inside.buckets"
#: Below a job's artifacts; see :mod:`nablahub.storage.mounting.returning`.
_UNSAVED = "not-written-back"


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
        body = json.dumps({"stage": "over", "words": words}).encode()

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


def send_log(
    service: Service,
    ended: int,
    artifacts: Artifacts | None = None,
    *,
    offset: int = 0,
    pulse: float | None = None,
) -> int:
    """Send the log as it grows, until `ended` is readable and all of it is sent.

    What the service has is given back to the disk, so that a long log never fills it.

    Parameters
    ----------
    offset
        Where to begin.
    pulse
        Seconds after which the service is told that there is nothing new; None: never.

    Returns
    -------
    int
        How many bytes the service has.
    """
    grown = places.watch(places.SHARED)
    log = os.open(places.LOG, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    freed = offset
    while True:
        last = bool(select.select([ended], [], [], 0)[0])
        while part := _next_part(log, offset, lines=service.node is not None and not last):
            offset = service.log(offset, part)
            if offset - freed >= _PART:
                places.free(log, offset)
                freed = offset
        if last:
            os.close(log)
            os.close(grown)
            return offset
        if artifacts is not None:
            artifacts.look()
        patience = max(artifacts.due - time.monotonic(), 0) if artifacts is not None else pulse
        if not any(select.select([grown, ended], [], [], patience)) and pulse is not None:
            service.log(offset, b"")
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


def bring_buckets(service: Service, offset: int) -> tuple[str, dict[str, str]]:
    """Bring back what the command changed in folders of buckets, and tell in the log.

    Parameters
    ----------
    offset
        How much of the log the service has.

    Returns
    -------
    str
        What could not be brought back and why; empty when everything is where it shall be.
    dict of str to str
        The files that could not, by the names that they get among the artifacts.
    """
    ended, end = os.pipe()
    environment = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    process = subprocess.Popen(
        [PYTHON, "-P", "-s", "-m", _BRING],
        env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    said: list[bytes] = []

    def wait() -> None:
        said.append(process.communicate()[1])
        os.close(end)

    threading.Thread(target=wait, daemon=True).start()
    send_log(service, ended, offset=offset, pulse=_PULSE)
    if process.returncode != 0:
        last = said[0].decode(errors="replace").strip().rpartition("\n")[2]
        why = last or f"what brings it back ended with {process.returncode}."
        return f"Not everything was written back: {why}", {}
    found = json.loads(places.UNSAVED.read_text(encoding="utf-8"))
    names = {f"{_UNSAVED}/{name}": where for name, where in found["files"].items()}
    return found["words"], names


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
    service = Service.of(task, node)
    writable = not all(given["read_only"] for given in task.get("buckets", ()))
    try:
        artifacts = Artifacts(service, Path("/artifacts")) if node == 0 else None
        sent = send_log(service, ended, artifacts)
        if node > 0:
            return 0  # What the first node leaves is kept.
        lost, beside = bring_buckets(service, sent) if writable else ("", {})
        service.tree("artifacts", Path("/artifacts"), beside=beside)
        if writable:
            service.unsaved(lost)
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
