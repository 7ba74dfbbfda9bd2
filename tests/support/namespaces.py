"""A machine on which bubblewrap cannot run, made of one on which it can."""

from __future__ import annotations

import shutil
import subprocess

import pytest

#: A user namespace in which no other one can be made: put before a command's own words.
NO_NAMESPACES = (
    *("unshare", "--user", "--map-root-user", "sh", "-c"),
    'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"',
    "sh",
)


def _possible() -> bool:
    if shutil.which("unshare") is None:
        return False
    return (
        subprocess.run([*NO_NAMESPACES, "true"], check=False, capture_output=True).returncode == 0
    )


needs_unshare = pytest.mark.skipif(not _possible(), reason="unshare(1) cannot be used here")
