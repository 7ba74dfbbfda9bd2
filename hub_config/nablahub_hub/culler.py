"""The idle culler as a service that the hub manages, and that never outlives the hub."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

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
    if parent == 1 or os.getppid() != parent:
        raise SystemExit(0)


def main() -> None:
    """Run jupyterhub-idle-culler at low priority."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the hub's way to end it: no traceback wanted
    os.nice(10)  # it must not slow down what people wait for
    # Imported late: the hub may be gone before this slow import, and then nothing should start.
    from jupyterhub_idle_culler import main as cull

    cull()


if __name__ == "__main__":
    main()
