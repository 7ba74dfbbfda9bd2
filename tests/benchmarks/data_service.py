"""The hub's service with its data concepts, as a process: ``… STATE PORT SETTINGS``.

``SETTINGS`` is JSON. Kill it to end it.
"""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path

from nablahub.core.extension import load
from tests.support.service import RunningService

if __name__ == "__main__":
    names = ("teams", "projects", "storage", "datasets")
    service = RunningService(
        Path(sys.argv[1]),
        [load(f"nablahub.{name}.extension:extension") for name in names],
        service_port=int(sys.argv[2]),
        **json.loads(sys.argv[3]),
    )
    service.start()
    print("ready", flush=True)
    threading.Event().wait()
