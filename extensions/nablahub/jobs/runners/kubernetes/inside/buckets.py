"""Folders of buckets in a pod: copied before its command begins, brought back after it has ended.

They lie in a volume of the pod's own, a folder for each mount as on one machine
(:mod:`nablahub.storage.mounting.record`), of which the command sees `data` alone. Runs in the
runner image's own environment: `fetch` copies, and `commit` starts :func:`main` to bring back.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from nablahub.core.errors import NablaError
from nablahub.core.transport import Transport
from nablahub.jobs.runners.kubernetes.inside import places
from nablahub.jobs.runners.kubernetes.inside.commit import send_log
from nablahub.jobs.runners.kubernetes.inside.hub_folder import HubFolder, patiently
from nablahub.jobs.runners.kubernetes.inside.sending import API, Refused, Service
from nablahub.jobs.runners.notes import line
from nablahub.storage.mounting.copying import Tell, Wanted, copy
from nablahub.storage.mounting.record import Record
from nablahub.storage.mounting.returning import give_back, kept, unsaved

type Task = dict[str, Any]

#: What kubelets keep free of their disk by default: below it they end pods of everybody.
#: https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
_KEPT_FREE: Final = 0.1
#: Longer than a bucket needs to join the parts of a large object.
_TIMEOUT: Final = 600.0


def stage(hub: Transport, task: Task, root: Path, tell: Tell) -> None:
    """Copy all folders that a task mounts.

    Parameters
    ----------
    hub : Transport
        Speaks to the service as the task's own pod.
    task : dict
        What stands in `delivery.json`.
    root : pathlib.Path
        Where the mounts lie.
    tell : callable
        Is told how far it is.

    Raises
    ------
    NablaError
        One of them cannot be copied, in a sentence.
    """
    room = partial(_room, root, task["scratch"])
    hint = "Mount a smaller folder of it, or ask an administrator for more room on the nodes."
    for given in task["buckets"]:
        folder = root / given["at"]
        with closing(HubFolder(hub, _path(task, given))) as source:
            copy(source, folder, Wanted(room, tell, here="its pod", why="", hint=hint))
            inside = source.place.removeprefix("s3://")
        read_only = given["read_only"]
        Record(given["mount"], "", inside, read_only, "copy", "ready").save(folder)
    if not all(given["read_only"] for given in task["buckets"]):
        # Before the command can change anything: without this nobody would know that it did.
        body = {"stage": "ready", "words": ""}
        patiently(lambda: hub.put(f"{_own(task)}/buckets", body))


def _room(root: Path, scratch: int | None, _folder: Path) -> int:
    disk = shutil.disk_usage(root)
    free = disk.free - int(disk.total * _KEPT_FREE)
    if scratch is None:
        return free
    return min(free, scratch - sum(os.lstat(path).st_blocks * 512 for path in root.rglob("*")))


def bring(hub: Transport, task: Task, root: Path, tell: Tell) -> dict[str, Any]:
    """Bring back what changed, and return what could not be: the words, and the files by names.

    The names are those among a job's artifacts.
    """
    lost, found = list[str](), dict[str, str]()
    for given in task["buckets"]:
        folder = root / given["at"]
        record = Record.load(folder)
        if record is None or record.read_only:
            continue
        opened = partial(HubFolder, hub, _path(task, given), f"s3://{record.inside}")
        words = give_back(opened, folder, given["mount"], tell)
        if words:
            files = unsaved(folder)
            found |= {f"{len(lost)}/{path}": str(file) for path, file in files.items()}
            lost.append(words)
    told = kept(lost) if lost else ""
    if told:
        tell(told)
    return {"words": told, "files": found}


def _own(task: Task) -> str:
    return str(task["path"]).removeprefix(API)


def _path(task: Task, given: dict[str, str]) -> str:
    return f"{_own(task)}/buckets/{given['mount']}"


@contextmanager
def telling(task: Task, log: Path) -> Iterator[Tell]:
    """Give what writes lines into the task's log, before its command does; they are sent at once.

    What brings the log out later sends it from its beginning, and the service passes over these.
    """
    service = Service.of(task, places.node())
    ended, end = os.pipe()

    def send() -> None:
        with suppress(Refused):  # Whoever asks for more than a log hears it as well.
            send_log(service, ended)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        with written(log) as tell:
            yield tell
    finally:
        os.close(end)
        thread.join()
        os.close(ended)
        service.close()


@contextmanager
def written(log: Path) -> Iterator[Callable[[str], None]]:
    """Give what adds lines of ours to a log."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    opened = os.open(log, flags, 0o600)
    try:
        yield lambda words: _write(opened, line(words))
    finally:
        os.close(opened)


def _write(log: int, text: str) -> None:
    os.write(log, text.encode())


def main() -> int:
    """Bring back what changed, and leave what could not be in a file for `commit`."""
    task = json.loads(places.DELIVERY.read_text(encoding="utf-8"))
    with Transport(task["service"]["url"], task["service"]["token"], timeout=_TIMEOUT) as hub:
        try:
            with written(places.LOG) as tell:
                found = bring(hub, task, places.BUCKETS, tell)
        except NablaError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    places.UNSAVED.write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
