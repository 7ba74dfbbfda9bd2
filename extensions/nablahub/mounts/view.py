"""What a server shows in ``/datasets``: links into the cache, made in the server itself.

The caches of a user's teams are shown to each of their servers as a whole, read-only, from its
start on. So showing another version is making a link, whatever the version's size, and needs no
right that a server does not have. The links lie in a folder that is shown twice: writable where
:data:`VARIABLE` says, read-only as ``/datasets``. Standard library only.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: The folder in which links are made.
VARIABLE: Final = "NABLAHUB_MOUNTS"
#: Where the caches of the user's teams are seen.
CACHE_VARIABLE: Final = "NABLAHUB_CACHE"
#: ``folder`` or ``claim``, as mounts have it.
KIND_VARIABLE: Final = "NABLAHUB_CACHE_KIND"
#: Where folders of buckets are seen.
BUCKETS_VARIABLE: Final = "NABLAHUB_BUCKETS"
#: Below it: what nobody writes to by accident, and writable copies.
READ: Final = "read"
WRITE: Final = "write"
#: The server's name, as JupyterHub tells it; empty for the default one.
SERVER_VARIABLE: Final = "JUPYTERHUB_SERVER_NAME"
#: No mount and no dataset has a name that begins with ``@``.
CACHED: Final = "@cached"


@dataclass(frozen=True)
class View:
    """The links of the server in which this runs.

    Parameters
    ----------
    folder, cache : pathlib.Path
        Where they are made, and where they lead to.
    kind : str
        What the cache is.
    server : str
        The server's name.
    buckets : pathlib.Path or None
        Where folders of buckets are; None when the server was started without.
    """

    folder: Path
    cache: Path
    kind: str
    server: str
    buckets: Path | None = None

    @classmethod
    def here(cls, env: Mapping[str, str] = os.environ) -> View | None:
        """Return the view of this server; None when this runs in none, or it has no cache."""
        folder, cache = env.get(VARIABLE), env.get(CACHE_VARIABLE)
        if not folder or not cache:
            return None
        kind, server = env.get(KIND_VARIABLE, "folder"), env.get(SERVER_VARIABLE, "")
        buckets = env.get(BUCKETS_VARIABLE)
        return cls(Path(folder), Path(cache), kind, server, Path(buckets) if buckets else None)

    def has(self, place: str) -> bool:
        """Whether a tree is there to be shown."""
        return (self.cache / place).is_dir()

    def show(self, name: str, place: str) -> None:
        """Let a name lead to a tree from now on, in one step."""
        self._link(name, self.cache / place)

    def show_bucket(self, name: str, place: str) -> None:
        """Let a name lead to a folder of a bucket from now on, in one step."""
        if self.buckets is not None:
            self._link(name, self.buckets / place)

    def _link(self, name: str, goal: Path) -> None:
        new = self.folder / f".{secrets.token_hex(8)}"
        new.symlink_to(goal)
        new.replace(self.folder / name)

    def hide(self, name: str) -> None:
        """Let a name lead nowhere; what is not there is no error."""
        with suppress(FileNotFoundError):
            (self.folder / name).unlink()

    def show_cached(self) -> None:
        """Let :data:`CACHED` lead to the names of all that is cached, where there are such."""
        names = self.cache.with_name("names")
        if names.is_dir() and not (self.folder / CACHED).is_symlink():
            (self.folder / CACHED).symlink_to(names)

    def shown(self) -> set[str]:
        """Return the names that lead to what was mounted."""
        roots = [self.cache, *([self.buckets] if self.buckets is not None else [])]
        return {
            path.name
            for path in self.folder.iterdir()
            if path.is_symlink() and any(path.readlink().is_relative_to(root) for root in roots)
        }
