"""Folders of buckets in notebook servers, on this machine: made, sent and put away.

Each mount is made outside of the sandbox, in a folder that its server has been shown since its
start: by FUSE where the server sees what is mounted there later, else by a copy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from nablahub.core.settings import Settings
from nablahub.core.state import StateDir
from nablahub.jobs.runners.remove import remove_tree
from nablahub.mounts import propagation, running
from nablahub.mounts.errors import NoBucketsHere
from nablahub.mounts.store import MountRow
from nablahub.mounts.view import READ, WRITE
from nablahub.storage.mounting.errors import MountFailed
from nablahub.storage.mounting.mounts import Mounts, Shown
from nablahub.storage.mounting.record import How
from nablahub.storage.mounting.refs import BucketFolder
from nablahub.storage.service import StorageService

Tell = Callable[[str], None]
_NAME: Final = "files"
_LATER: Final = "The server did not see what was mounted by FUSE."


@dataclass(frozen=True)
class Wanted:
    """One mount of one server.

    Parameters
    ----------
    id, user, server : str
        The mount's id and whose it is.
    bucket : BucketFolder
        With the id of the provider.
    read_only : bool
        Whether nothing is ever written to the bucket.
    """

    id: str
    user: str
    server: str
    bucket: BucketFolder
    read_only: bool

    @classmethod
    def of(cls, row: MountRow) -> Wanted:
        """Return what a row wants."""
        folder = BucketFolder.parse(row.bucket or "")
        return cls(row.id, row.user_name, row.server, folder, row.read_only)


class ServerBuckets:
    """The mounted buckets of this machine's servers. All of it blocks and belongs into threads."""

    def __init__(self, settings: Settings, storage: StorageService) -> None:
        self._state: StateDir = settings.state
        self._by_fuse = settings.bucket_mounts == "fuse"
        self._mounts = Mounts(
            settings.state.server_mounts, storage, by=settings.bucket_mounts,
            free_bytes=settings.min_free_bytes, remove=remove_tree, lasting=True,
        )  # fmt: skip

    def runs(self, user: str, server: str) -> bool:
        """Whether a server runs on this machine."""
        return running.keeper(self._state.server(user, server)) is not None

    def wait(self, user: str, server: str) -> None:
        """Block until a server has ended."""
        running.wait(self._state.server(user, server))

    def there(self, mount_id: str) -> bool:
        """Whether something of a mount is on this machine."""
        return (self._state.server_mounts / mount_id).is_dir()

    def ready(self, mount_id: str) -> bool:
        """Whether a mount is there, and still answers."""
        return self._mounts.ready(mount_id, _NAME)

    def make(self, wanted: Wanted, tell: Tell, stopped: Callable[[], bool]) -> str:
        """Make a mount and return where its server sees it, below its buckets.

        Raises
        ------
        NoBucketsHere
            The server was not shown where buckets are.
        MountFailed, MountTooBig, MountStopped, StoreAway, StoreRefused, NoSuchProvider
        """
        place = self._state.server_buckets(wanted.user, wanted.server)
        keeper = running.keeper(self._state.server(wanted.user, wanted.server))
        if keeper is None or not (place / READ).is_dir():
            raise NoBucketsHere
        without = propagation.unseen(place / READ, keeper)
        how = self._make(wanted, tell, stopped, without)
        if how == "fuse" and not propagation.seen(wanted.id, keeper):
            if words := self.put_away(wanted.id, tell, runs=False):
                raise MountFailed(words)
            how = self._make(wanted, tell, stopped, _LATER)
        return f"{_below(how, wanted)}/{wanted.id}"

    def _make(self, wanted: Wanted, tell: Tell, stopped: Callable[[], bool], without: str) -> How:
        place = self._state.server_buckets(wanted.user, wanted.server)
        shown = Shown(lambda how: place / _below(how, wanted) / wanted.id, without)
        return self._mounts.make(
            wanted.id, _NAME, wanted.bucket,
            read_only=wanted.read_only, tell=tell, stopped=stopped, shown=shown,
        )  # fmt: skip

    def send(self, mount_id: str, tell: Tell) -> str:
        """Write what was changed to the bucket; return what could not be, in sentences."""
        return self._mounts.send(mount_id, tell)

    def put_away(self, mount_id: str, tell: Tell, *, runs: bool) -> str:
        """Send what was changed and take the mount away, if all of it was sent.

        Parameters
        ----------
        runs : bool
            Whether its server runs, and should see it for as long as anything is to be sent.

        Returns
        -------
        str
            What could not be sent, in sentences; then the mount is still there.

        Raises
        ------
        MountFailed
            It cannot be taken away.
        """
        if runs and (words := self._mounts.send(mount_id, tell)):
            return words
        # What was written last is seen when nobody writes any more; and FUSE begins anew with what
        # it had put off.
        self._mounts.withdraw(mount_id)
        if words := self._mounts.send(mount_id, tell):
            return words
        self._mounts.release(mount_id)
        return ""

    def discard(self, mount_id: str) -> None:
        """Take a mount away; what was not sent is lost."""
        self._mounts.release(mount_id)


def _below(how: How, wanted: Wanted) -> str:
    # A mount by FUSE is writable or not by itself, wherever it is.
    return WRITE if how == "copy" and not wanted.read_only else READ
