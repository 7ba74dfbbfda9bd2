"""The API keys of a deployment, read from a file of hashes that the service rewrites.

The file is ``{"keys": [{"id": "…", "sha256": "<hex>", "expires_at": <unix seconds>|null}, …]}``.
It is replaced as a whole; a change is seen within ``CHECK_EVERY`` seconds.
"""

import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)
CHECK_EVERY = 1.0
#: A key made just now must open at once; guessing must not cost a look at the disk each time.
CHECK_UNKNOWN_EVERY = 0.01
FILE_NAME = "keys.json"
_UNREADABLE = (0,)


@dataclass(frozen=True, slots=True)
class Key:
    """One key: its id, the sha256 of its text, and when it ends (unix seconds) if it does."""

    id: str
    sha256: bytes
    expires_at: float | None


class Keys:
    """The keys that open this server.

    Parameters
    ----------
    path
        The file, or the folder that holds ``keys.json``. A folder is what a sandbox mounts:
        a file that is replaced would not be seen through a mount of the file itself.
    clock
        Monotonic seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._file = path / FILE_NAME if path.is_dir() else path
        self._clock = clock
        self._seen: tuple[int, ...] | None = None
        self._checked = float("-inf")
        self._keys: tuple[Key, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is a list of keys that could be read."""
        self._refresh_after(CHECK_EVERY)
        return self._seen not in (None, _UNREADABLE)

    def find(self, secret: str) -> str | None:
        """Return the id of the key with this text, or None when it opens nothing."""
        digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
        self._refresh_after(CHECK_EVERY)
        found = self._match(digest)
        if found is None and self._refresh_after(CHECK_UNKNOWN_EVERY):
            found = self._match(digest)  # it may have been made just now
        return found

    def _refresh_after(self, seconds: float) -> bool:
        now = self._clock()
        if now - self._checked < seconds:
            return False
        self._checked = now
        self._refresh()
        return True

    def _match(self, digest: bytes) -> str | None:
        found: Key | None = None
        for key in self._keys:
            # Every key is compared, each in constant time.
            if hmac.compare_digest(key.sha256, digest):
                found = key
        if found is None or (found.expires_at is not None and found.expires_at <= time.time()):
            return None
        return found.id

    def _refresh(self) -> None:
        try:
            status = self._file.stat()
            stamp = (status.st_mtime_ns, status.st_ino, status.st_size)
            if stamp == self._seen:
                return
            self._keys = parse(self._file.read_bytes())
            self._seen = stamp
        except (OSError, ValueError) as error:
            # A list that can't be read opens nothing: it may have been a revocation.
            if self._keys or self._seen is None:
                log.error("the keys file can't be read, so no key is accepted: %s", error)
            self._keys, self._seen = (), _UNREADABLE


def parse(content: bytes) -> tuple[Key, ...]:
    """Read the keys file.

    Raises
    ------
    ValueError
        It is not of the form above.
    """
    document: Any = json.loads(content)
    try:
        return tuple(
            Key(
                id=str(row["id"]),
                sha256=bytes.fromhex(row["sha256"]),
                expires_at=None if row.get("expires_at") is None else float(row["expires_at"]),
            )
            for row in document["keys"]
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a list of keys: {error!r}") from error
