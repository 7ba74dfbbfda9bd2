"""One-time sign-in links: made by whoever may write the state directory, used once."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from pathlib import Path

from nablahub.core.state import StateDir

#: Seconds a link works.
LIFETIME = 600.0
PATH = "/hub/nablahub/sign-in"


def _file(folder: Path, key: str) -> Path:
    return folder / f"{hashlib.sha256(key.encode()).hexdigest()}.json"


def folder(state: StateDir) -> Path:
    """Where the hashes of unused links lie."""
    return state.run / "links"


def make(state: StateDir, public_url: str, user: str, *, now: float | None = None) -> str:
    """Return a link that signs that user in once within ten minutes.

    Only the hash of its key is kept, in a folder that nobody else may read.
    """
    key = secrets.token_urlsafe(32)
    where = folder(state)
    where.mkdir(mode=0o700, parents=True, exist_ok=True)
    _forget_old(where, now)
    path = _file(where, key)
    path.touch(mode=0o600)
    path.write_text(json.dumps({"user": user, "until": (now or time.time()) + LIFETIME}))
    return f"{public_url.rstrip('/')}{PATH}/{key}"


def use(where: Path, key: str, *, now: float | None = None) -> str | None:
    """Return the user whom a link signs in, and spend it; None when it is spent, old or made up."""
    path = _file(where, key)
    spent = path.with_suffix(".spent")
    try:
        path.rename(spent)  # only one of several that come at once gets it
    except FileNotFoundError:
        return None
    content = json.loads(spent.read_text())
    spent.unlink()
    return str(content["user"]) if content["until"] > (now or time.time()) else None


def _forget_old(where: Path, now: float | None) -> None:
    for path in where.iterdir():
        if path.stat().st_mtime < (now or time.time()) - LIFETIME:
            path.unlink(missing_ok=True)
