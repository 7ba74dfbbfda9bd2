"""The second container of a task's pod: brings the log out while it is written, then the files.

It waits for the command's end by a lock that the kernel takes from the supervisor when that ends,
however it ends. Standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from nablahub.jobs.runners.kubernetes.inside import places
from nablahub.jobs.runners.kubernetes.inside.leaving import Artifacts, Outputs, Unkept
from nablahub.jobs.runners.kubernetes.inside.sending import Refused, Service

_PART = 4 << 20
#: Of one of several nodes, a line that is not finished is held back, up to so many bytes.
_LINE = 64 << 10
#: Seconds between two looks at the artifacts of a command that runs, and the bytes up to which they
#: are sent before its end.
_LOOK = 3.0
_SMALL = 64 << 20
#: Seconds after which the service hears of us though there is nothing to send.
_PULSE = 10.0
#: Of our image: what the folders of buckets are brought back by wants more than Python has.
PYTHON = "/opt/nablahub/environment/bin/python"
_BRING = "nablahub.jobs.runners.kubernetes.inside.buckets"
#: Below a job's artifacts; see :mod:`nablahub.storage.mounting.returning`.
_UNSAVED = "not-written-back"


class Early:
    """Sends the artifacts while they are written: now and then, if they changed and are not large.

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
            with suppress(Refused, Unkept):  # Why is told at the end, when it is refused again.
                self._service.tree("artifacts", Artifacts(self._root, ended=False), once=True)
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
    artifacts: Early | None = None,
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
    log = _open_log()
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


def _open_log() -> int:
    """Open the log, or nothing where the command has put something else into its place."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with suppress(OSError):
        log = os.open(places.LOG, flags, 0o600)
        if stat.S_ISREG(os.fstat(log).st_mode):
            return log
        os.close(log)
    return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)


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
        artifacts = Early(service, Path("/artifacts")) if node == 0 else None
        sent = send_log(service, ended, artifacts)
        if node > 0:
            return 0  # What the first node leaves is kept.
        lost, beside = bring_buckets(service, sent) if writable else ("", {})
        told, words = _send_artifacts(service, beside)
        if writable:
            service.unsaved(lost)
        if task["outputs"] and _succeeded():
            service.tree("outputs", Outputs(Path("/outputs"), task["datasets"]))
    except Refused as error:
        _tell(str(error))
        return 1
    except Unkept as error:
        _tell(f"{error} {words}")
        return places.UNKEPT
    _tell(words)
    return told


def _send_artifacts(service: Service, beside: dict[str, str]) -> tuple[int, str]:
    """Send all that can be; return the exit code that tells whether, and what is to be told."""
    left = Artifacts(Path("/artifacts"), beside=beside)
    try:
        service.tree("artifacts", left)
    except (Refused, Unkept) as error:
        return 1, f"{error} {left.words}"
    return 0, left.words


def _tell(words: str) -> None:
    if words := words.strip():
        with places.TERMINATION.open("w", encoding="utf-8", errors="replace") as file:
            file.write(words[: places.TERMINATION_BYTES // 4])


def _succeeded() -> bool:
    try:
        report = json.loads(places.ENDED.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(report["verdict"] == "code" and report["exit_code"] == 0)


if __name__ == "__main__":
    sys.exit(main())
