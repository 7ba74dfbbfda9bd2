"""The mounts of one machine: made, brought back and taken away by the name of whose they are."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from nablahub.core.errors import NablaError
from nablahub.core.s3 import S3Store
from nablahub.storage.mounting import copying, fuse
from nablahub.storage.mounting.copying import Wanted, free_but
from nablahub.storage.mounting.errors import MountFailed
from nablahub.storage.mounting.record import How, Record, add_line, data, locked, read_lines
from nablahub.storage.mounting.refs import BucketFolder
from nablahub.storage.mounting.returning import give_back, unsaved
from nablahub.storage.mounting.s3_folder import S3Folder

log = logging.getLogger(__name__)


class Opens(Protocol):
    """Opens the folder of a provider."""

    def folder_store(self, provider_id: str, prefix: str) -> S3Store:
        """Return the store of a folder; NoSuchProvider when its provider is gone."""

    def is_guarded(self) -> bool:
        """Whether connections to it may go to public addresses only."""


@dataclass(frozen=True)
class Lost:
    """What did not reach the bucket.

    Parameters
    ----------
    words : str
        Why, in sentences.
    files : dict of str to pathlib.Path
        The files: path in the mount → where its bytes lie now.
    """

    words: str
    files: dict[str, Path]


class Mounts:
    """Makes mounts. All of it blocks and belongs into threads; one thread for each owner.

    Parameters
    ----------
    root : pathlib.Path
        Holds a folder for each owner, and in it one for each mount.
    opens : Opens
        Opens buckets.
    by : str
        ``auto``, ``fuse`` or ``copy``.
    free_bytes : int
        What a copy leaves free on the disk.
    remove : callable
        Deletes a tree, whatever a user's code made of it.
    """

    def __init__(
        self,
        root: Path,
        opens: Opens,
        *,
        by: Literal["auto", "fuse", "copy"],
        free_bytes: int,
        remove: Callable[[Path], None],
    ) -> None:
        self._root, self._opens, self._by, self._free = root, opens, by, free_bytes
        self._remove = remove

    def path(self, owner: str, name: str) -> Path:
        """Return what is shown of a mount that is ready; MountFailed when it is not."""
        if not self.ready(owner, name):
            raise MountFailed(f"The mount '{name}' is not there any more.")
        return data(self._root / owner / name)

    def ready(self, owner: str, name: str) -> bool:
        """Whether a mount is there, and still answers."""
        folder = self._root / owner / name
        record = Record.load(folder)
        if record is None or record.stage != "ready":
            return False
        return record.how == "copy" or (locked(folder) and fuse.mounted(folder))

    def make(
        self,
        owner: str,
        name: str,
        wanted: BucketFolder,
        *,
        read_only: bool,
        tell: Callable[[str], None],
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make a mount; what a kill left of it is taken up or begun anew.

        Parameters
        ----------
        wanted : BucketFolder
            With the id of the provider.
        tell : callable
            Is told how far it is.
        stopped : callable
            Whether nobody wants it any more.

        Raises
        ------
        MountFailed, MountTooBig, MountStopped, StoreAway, StoreRefused, NoSuchProvider
        """
        if self.ready(owner, name):
            return
        folder = self._root / owner / name
        store = self._opens.folder_store(wanted.storage, wanted.prefix)
        inside = f"{store.config.bucket}/{store.root}".rstrip("/")
        known = Record.load(folder)
        how = self._how(tell) if known is None else known.how
        record = Record(wanted.storage, wanted.prefix, inside, read_only, how).save(folder)
        if how == "fuse":
            self._mount(folder, record, store, stopped)
            tell(f"Mounted s3://{inside}.")
        else:
            copying.copy(S3Folder(store), folder, Wanted(free_but(self._free), tell, stopped))
        record.at(folder, "ready")

    def _how(self, tell: Callable[[str], None]) -> How:
        if self._by == "copy":
            return "copy"
        without = fuse.missing()
        if without is None:
            return "fuse"
        if self._by == "fuse":
            raise MountFailed(f"Buckets are mounted by FUSE here, which does not work: {without}")
        tell(f"No FUSE on this machine: {without}")
        return "copy"

    def _mount(
        self, folder: Path, record: Record, store: S3Store,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        # A wrong key shows here, in better words than rclone has, and not as an empty folder.
        S3Folder(store).check()
        fuse.mount(
            folder, store.config, store.root,
            read_only=record.read_only, guarded=self._opens.is_guarded(), stopped=stopped,
        )  # fmt: skip

    def save(self, owner: str, tell: Callable[[str], None] = lambda _words: None) -> list[Lost]:
        """Bring everything that was written into the buckets; nothing may write any more.

        May be repeated: what was saved is not saved again, and what failed stays failed.

        Returns
        -------
        list of Lost
            What could not be saved; its files stay until :meth:`release`.
        """
        found = []
        for folder in self._folders(owner):
            record = Record.load(folder)
            if record is None or record.read_only or record.stage in ("making", "saved"):
                continue
            if record.stage == "ready":
                record = self._save(folder, record, tell)
            if record.stage == "failed":
                found.append(Lost(record.words, self._left(folder, record)))
        return found

    def _save(self, folder: Path, record: Record, tell: Callable[[str], None]) -> Record:
        if record.how == "copy":
            words = give_back(lambda: self._reopened(folder, record), folder, folder.name, tell)
        else:
            words = self._drained(folder, record)
        return record.at(folder, "failed" if words else "saved", words)

    def _reopened(self, folder: Path, record: Record) -> S3Folder:
        """Return where a copy goes back to; what a kill left of an earlier attempt is given up."""
        journal = folder / "uploads"
        found = S3Folder(
            self._opens.folder_store(record.provider, record.prefix),
            begun=lambda path, upload: add_line(journal, {"path": path, "upload": upload}),
        )
        for row in read_lines(journal):
            found.abandon(row["path"], row["upload"])
        return found

    def _drained(self, folder: Path, record: Record) -> str:
        try:
            self._drain(folder, record)
        except (NablaError, OSError) as error:
            said = str(error) if isinstance(error, NablaError) else f"{error.strerror}."
            return f"Not everything was written back: {said}"
        return ""

    def _drain(self, folder: Path, record: Record) -> None:
        if fuse.unwritten(folder, record.inside) and not locked(folder):
            # Its keeper was killed: the next one sends what the cache still holds.
            self._mount(folder, record, self._opens.folder_store(record.provider, record.prefix))
        fuse.drain(folder, record.inside)

    def _left(self, folder: Path, record: Record) -> dict[str, Path]:
        if record.how == "fuse":
            return fuse.unwritten(folder, record.inside)
        return unsaved(folder)

    def release(self, owner: str) -> None:
        """Take all mounts of an owner away; what was not saved is lost."""
        for folder in self._folders(owner):
            if fuse.mounted(folder) or locked(folder):
                fuse.unmount(folder)  # Raises rather than let what follows reach the bucket.
            self._remove(folder)
        try:
            (self._root / owner).rmdir()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTEMPTY):
                raise

    def owners(self) -> list[str]:
        """Return whose mounts there are."""
        return [path.name for path in self._root.iterdir()] if self._root.is_dir() else []

    def _folders(self, owner: str) -> list[Path]:
        root = self._root / owner
        return sorted(root.iterdir()) if root.is_dir() else []


def unmount_all(root: Path) -> None:
    """Unmount everything below a folder; what was written and not sent stays in the caches."""
    for folder in root.glob("*/*"):
        if fuse.mounted(folder) or locked(folder):
            try:
                fuse.unmount(folder)
            except MountFailed as error:
                log.error("%s", error)
