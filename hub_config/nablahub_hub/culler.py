"""The idle culler as a service that the hub manages, and that never outlives the hub."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from nablahub_spawner import INSTANCE

PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """Ask Linux for SIGTERM when the parent goes (prctl(2)).

    A killed hub would leave its culler behind, with a token that the next hub does not know.
    """
    if not sys.platform.startswith("linux"):
        return
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if (parent == 1 and not _is_hub(parent)) or os.getppid() != parent:
        raise SystemExit(0)


def _is_hub(pid: int) -> bool:
    """Whether a process is a hub: in a container it is the first one, which elsewhere adopts us."""
    return b"jupyterhub" in Path(f"/proc/{pid}/cmdline").read_bytes()


def is_due(*, inactive: timedelta | None, inactive_limit: float, server: dict[str, Any]) -> bool:
    """Whether a server is to be stopped, by the limits of the instance type it was started with.

    Parameters
    ----------
    inactive : datetime.timedelta or None
        Time without activity.
    inactive_limit : float
        The hub's own limit in seconds, for types that have none.
    server : dict
        The hub's model of the server, its spawner's state included.
    """
    kind = (server.get("state") or {}).get(INSTANCE) or {}
    idle, longest = kind.get("idle_minutes"), kind.get("max_hours")
    limit = inactive_limit if idle is None else idle * 60
    if inactive is not None and inactive.total_seconds() >= limit:
        return True
    if longest is None or not server.get("started"):
        return False
    age = datetime.now(UTC) - datetime.fromisoformat(server["started"])
    return age >= timedelta(hours=longest)


def main() -> None:
    """Run jupyterhub-idle-culler at low priority."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the hub's way to end it: no traceback wanted
    os.nice(10)  # it must not slow down what people wait for
    # Imported late: the hub may be gone before this slow import, and then nothing should start.
    from jupyterhub_idle_culler import IdleCuller
    from traitlets.config import Config

    IdleCuller.launch_instance(config=Config({"IdleCuller": {"cull_arbiter_hook": is_due}}))


if __name__ == "__main__":
    main()
