"""Files of key hashes, one folder for each deployment; model servers read them by themselves."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from nablahub.core.ids import new_secret
from nablahub.deployments.routes import replace
from nablahub.deployments.store import KeyRow

PREFIX: Final = "nhk_"
SHOWN: Final = 10
FILE_NAME: Final = "keys.json"


def make() -> tuple[str, str, str]:
    """Make a key; return its text, how it begins, and its hash."""
    secret = new_secret(PREFIX)
    return secret, secret[:SHOWN], digest(secret)


def digest(secret: str) -> str:
    """Return the hash that stands for a key."""
    return hashlib.sha256(secret.encode()).hexdigest()


def write(folder: Path, rows: Iterable[KeyRow], probe_key: str) -> None:
    """Replace a deployment's file as a whole.

    Parameters
    ----------
    folder : pathlib.Path
        Made with mode 0700 when it isn't there.
    rows : iterable of KeyRow
        All keys that open the deployment.
    probe_key : str
        The prober's, valid as long as this process.
    """
    keys: list[dict[str, Any]] = [{"id": "probe", "sha256": digest(probe_key), "expires_at": None}]
    keys += [
        {
            "id": row.id,
            "sha256": row.sha256,
            "expires_at": None if row.expires_at is None else row.expires_at.timestamp(),
        }
        for row in rows
    ]
    replace(folder / FILE_NAME, json.dumps({"keys": keys}, indent=1).encode())


def remove(folder: Path) -> None:
    """Remove a deployment's folder; nothing happens when there is none."""
    if folder.exists():
        shutil.rmtree(folder)
