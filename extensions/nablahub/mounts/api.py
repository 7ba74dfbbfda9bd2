"""Mounts and the cache over the REST API."""

from __future__ import annotations

import builtins
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from nablahub.core.errors import NablaError
from nablahub.core.transport import Transport
from nablahub.mounts.errors import MountFailed, NoBucketsHere, NoSuchMount
from nablahub.mounts.types import S3, CacheList, CheckedTree, Mount, Pruned
from nablahub.mounts.view import SERVER_VARIABLE, View
from nablahub.storage.mounting.errors import NotWrittenBack

Tell = Callable[[str], None]

_FIRST_WAIT: Final = 0.005
_LONGEST_WAIT: Final = 1.0


class MountsAPI:
    """What ``/datasets`` shows: of the server in which this runs, else of another one of yours."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport
        self._view = View.here()

    def mount(
        self,
        ref: str,
        name: str | None = None,
        *,
        server: str | None = None,
        replace: bool = False,
        read_only: bool = True,
        tell: Tell | None = None,
    ) -> Mount:
        """Show a version or a folder of a bucket, and return once it can be read.

        Parameters
        ----------
        ref : str
            A dataset's id or name, maybe with ``:version``, ``:tag`` or ``:latest``; or
            ``s3:<storage provider>/<folder>``.
        name : str or None
            Below ``/datasets``; default: the dataset's name, with ``@version`` when ``ref`` says
            which; a bucket's last folder.
        server : str or None
            Name of the server; default: the one in which this runs, else the user's default one.
        replace : bool
            Also when the name shows a version of another dataset.
        read_only : bool
            False: what is written to a bucket's folder is brought into the bucket.
        tell : callable or None
            Is told how far it is, in sentences.

        Raises
        ------
        NoSuchDataset, NoSuchVersion, NoSuchProvider, MountTaken, BucketTaken, MountFailed
        """
        body: dict[str, Any] = {
            "server": self._server(server), "name": name, "replace": replace,
            "read_only": read_only,
        }  # fmt: skip
        view = self._own(server)
        if ref.startswith(S3):
            return self._mount_bucket({**body, "bucket": ref.removeprefix(S3)}, view, tell)
        body["dataset"] = ref
        if view is not None:
            body |= {"cache": view.kind, "fill": view.kind == "folder"}
        made = Mount.model_validate(self._hub.post("/mounts", body))
        if view is not None and not body["fill"] and not view.has(made.place):
            body |= {"fill": True, "name": made.name, "dataset": made.version}
            made = Mount.model_validate(self._hub.post("/mounts", body))
        made = self._ready(made, tell)
        if view is not None:
            view.show(made.name, made.place)
        return made

    def _mount_bucket(self, body: dict[str, Any], view: View | None, tell: Tell | None) -> Mount:
        if view is not None:
            body["cache"] = view.kind
            if view.buckets is None and view.kind == "folder":
                raise NoBucketsHere
        made = self._ready(Mount.model_validate(self._hub.post("/mounts", body)), tell)
        if view is not None:
            if made.state == "Stopped":
                raise NoBucketsHere
            view.show_bucket(made.name, made.place)
        return made

    def _ready(self, mount: Mount, tell: Tell | None = None) -> Mount:
        mount = self._until(mount, lambda found: found.state != "Pending", tell)
        if mount.state == "Failed":
            raise MountFailed(mount.source, mount.message)
        return mount

    def _until(self, mount: Mount, done: Callable[[Mount], bool], tell: Tell | None) -> Mount:
        """Look at a mount, less and less often, until it is as it should be."""
        wait, told = _FIRST_WAIT, ""
        while not done(mount):
            if tell is not None and mount.message not in ("", told):
                told = mount.message
                tell(told)
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
            mount = self.get(mount.id)
        return mount

    def get(self, mount_id: str) -> Mount:
        """Get a mount by its id; NoSuchMount when there is none."""
        return Mount.model_validate(self._hub.get(f"/mounts/{mount_id}"))

    def list(self, *, server: str | None = None) -> Iterator[Mount]:
        """Yield what a server shows, newest first; default: see :meth:`mount`."""
        rows = self._hub.pages("/mounts", server=self._server(server))
        return map(Mount.model_validate, rows)

    def named(self, name: str, *, server: str | None = None) -> Mount:
        """Return what is shown by a name below ``/datasets``; NoSuchMount when nothing is."""
        name = name.removeprefix("/datasets/")
        for found in self.list(server=server):
            if found.name == name:
                return found
        raise NoSuchMount(name)

    def unmount(
        self, name: str, *, server: str | None = None, discard: bool = False,
        tell: Tell | None = None,
    ) -> Mount:  # fmt: skip
        """Show something no more; by its name below ``/datasets``.

        Of a writable bucket this returns when everything that was written is in it.

        Parameters
        ----------
        discard : bool
            Let go what could not be brought into the bucket.
        tell : callable or None
            Is told how far it is, in sentences.

        Raises
        ------
        NoSuchMount
        NotWrittenBack
            Something could not be brought into the bucket; it is still mounted.
        """
        found = self.named(name, server=server)
        view = self._own(server)
        if found.bucket is None and view is not None:
            view.hide(found.name)
        params = {"discard": "true"} if discard else None
        self._hub.request("DELETE", f"/mounts/{found.id}", params=params)
        if found.bucket is not None:
            try:
                left = self._until(self.get(found.id), _is_done, tell)
            except NoSuchMount:
                if view is not None:
                    view.hide(found.name)
                return found
            raise _not_written(left)
        return found

    def send(self, name: str, *, server: str | None = None, tell: Tell | None = None) -> Mount:
        """Write what was changed to a bucket, and return when it is there.

        Raises
        ------
        NoSuchMount, NotWritable
        NotWrittenBack
            Something could not be brought into the bucket.
        """
        found = self.named(name, server=server)
        asked = Mount.model_validate(self._hub.post(f"/mounts/{found.id}/send"))
        done = self._until(asked, _is_done, tell)
        if done.unsent:
            raise _not_written(done)
        return done

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
        # What is copied may take long.
        wanted = sorted(self.list(), key=lambda mount: mount.bucket is not None)
        for name in view.shown() - {mount.name for mount in wanted}:
            view.hide(name)
        for mount in wanted:
            if mount.todo in ("unmount", "discard"):
                continue
            ref = mount.version if mount.bucket is None else f"{S3}{mount.bucket}"
            try:
                made = self.mount(ref, mount.name, read_only=mount.read_only)
                if made.unsent:
                    problems.append(str(_not_written(made)))
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


def _is_done(mount: Mount) -> bool:
    return mount.todo == ""


def _not_written(mount: Mount) -> NotWrittenBack:
    name = mount.name
    return NotWrittenBack(
        f"{mount.path}: {mount.unsent}",
        hint=f"It is kept. Try again (`%nabla sync {name}`), or copy what you need elsewhere and "
        f"let the rest go (`%nabla unmount {name} --discard`).",
    )


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
