"""Removing what a job left."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from nablahub.jobs.runners.remove import remove_tree


def test_folders_below_each_other_without_end(tmp_path: Path) -> None:
    root = tmp_path / "work"
    root.mkdir()
    depth = 1200
    here = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    try:
        remove_tree(root)
        assert not root.exists()
    finally:
        # What clears up old temporary folders cannot go as deep: a failure must not cause others.
        subprocess.run(["rm", "-rf", "--", root], check=True)
