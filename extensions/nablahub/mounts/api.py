"""Mounts and the cache over the REST API."""

from __future__ import annotations

import builtins
import json
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

from nablahub.core.errors import NablaError
from nablahub.core.transport import Transport
from nablahub.mounts.errors import MountFailed, NoSuchMount
from nablahub.mounts.types import CacheList, CheckedTree, Mount, Pruned
from nablahub.mounts.view import SERVER_VARIABLE, View

_FIRST_WAIT: Final = 0.005
_LONGEST_WAIT: Final = 1.0


class MountsAPI:
    """Versions in ``/datasets``: of the server in which this runs, else of another one of yours."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport
        self._view = View.here()

    def mount(
        self, ref: str, name: str | None = None, *, server: str | None = None, replace: bool = False
    ) -> Mount:
        """Show a version, read-only, and return once it can be read.

        Parameters
        ----------
        ref : str
            A dataset's id or name, maybe with ``:version``, ``:tag`` or ``:latest``.
        name : str or None
            Below ``/datasets``; default: the dataset's name, with ``@version`` when ``ref`` says
            which.
        server : str or None
            Name of the server; default: the one in which this runs, else the user's default one.
        replace : bool
            Also when the name shows a version of another dataset.

        Raises
        ------
        NoSuchDataset, NoSuchVersion, MountTaken, MountFailed
        """
        body: dict[str, Any] = {
            "dataset": ref, "server": self._server(server), "name": name, "replace": replace,
        }  # fmt: skip
        view = self._own(server)
        if view is not None:
            body |= {"cache": view.kind, "fill": view.kind == "folder"}
        made = Mount.model_validate(self._hub.post("/mounts", body))
        if view is not None and not body["fill"] and not view.has(made.place):
            body |= {"fill": True, "name": made.name, "dataset": made.version}
            made = Mount.model_validate(self._hub.post("/mounts", body))
        made = self._ready(made)
        if view is not None:
            view.show(made.name, made.place)
        return made

    def _ready(self, mount: Mount) -> Mount:
        wait = _FIRST_WAIT
        while mount.state == "Pending":
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
            mount = Mount.model_validate(self._hub.get(f"/mounts/{mount.id}"))
        if mount.state == "Failed":
            raise MountFailed(mount.version, mount.message)
        return mount

    def list(self, *, server: str | None = None) -> Iterator[Mount]:
        """Yield what a server shows, newest first; default: see :meth:`mount`."""
        rows = self._hub.pages("/mounts", server=self._server(server))
        return map(Mount.model_validate, rows)

    def unmount(self, name: str, *, server: str | None = None) -> Mount:
        """Show something no more; by its name below ``/datasets``."""
        name = name.removeprefix("/datasets/")
        for found in self.list(server=server):
            if found.name == name:
                view = self._own(server)
                if view is not None:
                    view.hide(name)
                self._hub.delete(f"/mounts/{found.id}")
                return found
        raise NoSuchMount(name)

    def restore(self) -> Sequence[str]:
        """Show again what this server showed before it was restarted, and say that it is in use.

        Returns
        -------
        sequence of str
            What could not be mounted, in sentences.
        """
        view = self._view
        problems: builtins.list[str] = []
        if view is None:
            return problems
        view.show_cached()
        wanted = list(self.list())
        for name in view.shown().keys() - {mount.name for mount in wanted}:
            view.hide(name)
        for mount in wanted:
            try:
                self.mount(mount.version, mount.name)
            except NablaError as error:
                view.hide(mount.name)
                problems.append(f"{mount.path}: {error}")
        return problems

    def _own(self, server: str | None) -> View | None:
        """Return this server's view, if it is the one that is meant."""
        view = self._view
        return view if view is not None and server in (None, view.server) else None

    def _server(self, server: str | None) -> str:
        return os.environ.get(SERVER_VARIABLE, "") if server is None else server


class CacheAPI:
    """The cache of materialised versions; for administrators."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def list(self) -> CacheList:
        """Return what is in the cache, the longest unused first."""
        return CacheList.model_validate(self._hub.get("/cache"))

    def prune(self, *, to: int | None = None, dry_run: bool = False) -> Pruned:
        """Take out what nobody reads until the rest is small enough.

        Parameters
        ----------
        to : int or None
            Bytes that may stay; default: the setting ``dataset_cache_size``.
        dry_run : bool
            Only tell what would go.
        """
        params = {"to": to, "dry_run": "true" if dry_run else None}
        return Pruned.model_validate(self._hub.request("POST", "/cache/prune", params=params))

    def verify(self, *, repair: bool = False) -> Iterator[CheckedTree]:
        """Let the hub read all of the cache; yield what it found in each tree."""
        params = {"repair": "true"} if repair else None
        with self._hub.stream("POST", "/cache/verify", params=params) as answer:
            for line in answer.iter_lines():
                yield CheckedTree.model_validate(json.loads(line))
