"""The first container of a pod that reads versions which no claim holds: downloads them.

Runs in the runner image's own environment, with the client of our package.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any

from nablahub.core.errors import NablaError, Unavailable
from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from nablahub.jobs.runners.kubernetes.inside import places
from nablahub.models.api import ModelsAPI

FETCHED = Path("/fetched")
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 5.0


def main() -> int:
    """Download everything and return 0; 1 with a sentence when that cannot be."""
    # The first process of a container hears no signal that it does not ask for.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    task = json.loads(places.TASK.read_text(encoding="utf-8"))
    service = task["service"]
    hub = Transport(service["url"], service["token"])
    try:
        for wanted in task["fetch"]:
            _fetch(hub, wanted)
    except NablaError as error:
        places.TERMINATION.write_text(str(error)[: places.TERMINATION_BYTES // 4])
        return 1
    finally:
        hub.close()
    return 0


def _fetch(hub: Transport, wanted: dict[str, Any]) -> None:
    """Download one version, however long the service is away: it may just be restarted."""
    target = FETCHED / wanted["to"]
    source = ModelsAPI(hub) if wanted["kind"] == "model" else DatasetsAPI(hub)
    wait = _FIRST_WAIT
    while True:
        # By a folder of its own: it is seen whole or not at all.
        shutil.rmtree(target, ignore_errors=True)
        try:
            source.download(wanted["ref"], target)
        except Unavailable:
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
        else:
            target.mkdir(exist_ok=True)
            return


if __name__ == "__main__":
    sys.exit(main())
