"""The first container of a pod that reads versions: sees that they are there.

They come into a claim that all pods share, once, or, where there is none, into the pod's own
folder.
Runs in the runner image's own environment, with the client of our package.
"""

from __future__ import annotations

import errno
import json
import signal
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from nablahub.core.archives import unpack_tar
from nablahub.core.errors import NablaError, Unavailable
from nablahub.core.identity import CACHE, PUBLIC
from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from nablahub.jobs.runners.kubernetes.inside import places
from nablahub.jobs.runners.kubernetes.inside.buckets import stage, telling
from nablahub.jobs.runners.kubernetes.inside.filling import fill, name, remove
from nablahub.jobs.runners.kubernetes.inside.sending import API
from nablahub.jobs.runners.kubernetes.inside.shrinking import shrink, taken, withdraw
from nablahub.jobs.workspaces.laying import RULES, Pieces
from nablahub.models.api import ModelsAPI

FETCHED = Path("/fetched")
WORK = Path("/work")
#: So many versions are asked about at once; the rest is kept this time.
ASKED = 1000
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 5.0


def main() -> int:
    """Get everything and return 0; 1 with a sentence when that cannot be."""
    # The first process of a container heeds no signal that it has no handler for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    task = json.loads(places.DELIVERY.read_text(encoding="utf-8"))
    service = task["service"]
    hub = Transport(service["url"], service["token"])
    try:
        if task.get("workspace"):
            _workspace(hub, task["path"], WORK)
        for wanted in task["fetch"]:
            download = partial(_model if wanted["kind"] == "model" else _dataset, hub, wanted)
            _fill(hub, task, wanted["to"], partial(_patiently, download))
        if task["cached"]:
            withdraw(FETCHED, partial(_withdrawn, hub))
            shrink(FETCHED, task["room"], partial(_read, hub))
        if task.get("buckets"):
            return _mount(hub, task)
    except NablaError as error:
        return _tell(str(error))
    except OSError as error:
        return _tell(_words(error, task))
    finally:
        hub.close()
    return 0


def _mount(hub: Transport, task: dict[str, Any]) -> int:
    """Copy the folders of buckets and return 0; MOUNT with a sentence when that cannot be."""
    try:
        with telling(task, places.LOG) as tell:
            stage(hub, task, places.BUCKETS, tell)
    except NablaError as error:
        _tell(str(error))
        return places.MOUNT
    except OSError as error:
        _tell(f"Its buckets could not be mounted: {error.strerror}.")
        return places.MOUNT
    return 0


def _fill(
    hub: Transport, task: dict[str, Any], where: str, download: Callable[[Path], None]
) -> None:
    """Get a version; when there is no room for it, once more after some others are gone."""
    try:
        fill(FETCHED, where, download)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT) or not task["cached"]:
            raise
        if not shrink(FETCHED, taken(FETCHED) // 2, partial(_read, hub)):
            raise
        fill(FETCHED, where, download)


def _read(hub: Transport, places: list[str]) -> set[str]:
    """Return which versions are read; all of them while nobody tells."""
    asked, rest = places[:ASKED], places[ASKED:]
    try:
        return {*hub.post("/cache/users", {"places": asked})["items"], *rest}
    except NablaError:
        return set(places)


def _withdrawn(hub: Transport, places: list[str]) -> list[str]:
    """Return which versions nobody may see any more; none of them while nobody tells."""
    try:
        answer = hub.post("/cache/users", {"places": places[:ASKED]})
    except NablaError:
        return []
    return list(answer.get("withdrawn", []))


def _patiently(download: Callable[[Path], None], folder: Path) -> None:
    """Download one version, however long the service is away: it may just be restarted."""
    wait = _FIRST_WAIT
    while True:
        try:
            return download(folder)
        except Unavailable:
            remove(folder)
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)


def _workspace(hub: Transport, path: str, work: Path) -> None:
    """Lay the task's own folder out where its command will begin."""

    def download(new: Path) -> None:
        for old in work.iterdir():  # Of a container before this one, that was killed.
            if old.is_dir():
                remove(old)
            else:
                old.unlink()
        with hub.stream("GET", f"{path.removeprefix(API)}/workspace") as answer:
            unpack_tar(Pieces(answer.iter_bytes()), new, RULES)

    new = work / ".nablahub-new"
    _patiently(download, new)
    for made in list(new.iterdir()):
        made.rename(work / made.name)
    new.rmdir()


def _model(hub: Transport, wanted: dict[str, str], folder: Path) -> None:
    ModelsAPI(hub).download(wanted["ref"], folder)


def _dataset(hub: Transport, wanted: dict[str, str], folder: Path) -> None:
    version = DatasetsAPI(hub).download(wanted["ref"], folder)
    team, _, own = wanted["to"].partition("/")
    if team == PUBLIC:  # Several teams may call theirs the same.
        return
    name(FETCHED, team, (version.dataset_name, version.version), f"{CACHE}/{team}/{own}")


def _words(error: OSError, task: dict[str, Any]) -> str:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f"{error}."
    if task["cached"]:
        return (
            "The cache of dataset versions is full of what others read: an administrator enlarges "
            "the claim `cache_claim`, or waits until jobs end and notebooks unmount."
        )
    return "Its node has no room for them: read less, or ask an administrator for a larger disk."


def _tell(words: str) -> int:
    places.TERMINATION.write_text(words[: places.TERMINATION_BYTES // 4])
    return 1


if __name__ == "__main__":
    sys.exit(main())
