"""Removing what a user's code left, however it left it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from errno import EMFILE, ENAMETOOLONG
from pathlib import Path
from typing import Any


def remove_tree(path: Path) -> None:
    """Remove a file or folder, folders without permissions too; symbolic links are not followed."""
    if path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path, onexc=_open_and_retry)
        except (RecursionError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in (EMFILE, ENAMETOOLONG):
                raise
            # So many folders below each other; rm takes any number.
            subprocess.run(["/bin/rm", "-rf", "--", path], check=True)
    else:
        path.unlink(missing_ok=True)


def _open_and_retry(function: Callable[..., Any], name: str, error: BaseException) -> None:
    if isinstance(error, FileNotFoundError):
        return
    if not isinstance(error, PermissionError):
        raise error
    parent = Path(name).parent
    parent.chmod(0o700)
    if Path(name).is_dir() and not Path(name).is_symlink():
        os.chmod(name, 0o700, follow_symlinks=True)  # noqa: PTH101 - the name may be odd bytes
        shutil.rmtree(name, onexc=_open_and_retry)
    else:
        Path(name).unlink(missing_ok=True)
