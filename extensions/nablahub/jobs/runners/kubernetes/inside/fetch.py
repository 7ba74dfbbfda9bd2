"""The first container of a pod that reads versions which no claim holds: downloads them.

Runs in the runner image's own environment, with the client of our package.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from nablahub.core.errors import NablaError
from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from nablahub.jobs.runners.kubernetes.inside import places
from nablahub.models.api import ModelsAPI

FETCHED = Path("/fetched")


def main() -> int:
    """Download everything and return 0; 1 with a sentence when that cannot be."""
    task = json.loads(places.DELIVERY.read_text(encoding="utf-8"))
    service = task["service"]
    hub = Transport(service["url"], service["token"])
    try:
        for wanted in task["fetch"]:
            # By a folder of its own: it is seen whole or not at all.
            target = FETCHED / wanted["to"]
            source = ModelsAPI(hub) if wanted["kind"] == "model" else DatasetsAPI(hub)
            source.download(wanted["ref"], target)
            target.mkdir(exist_ok=True)
    except NablaError as error:
        places.TERMINATION.write_text(str(error)[: places.TERMINATION_BYTES // 4])
        return 1
    finally:
        hub.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
