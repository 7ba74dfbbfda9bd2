"""The mounts of one machine: made, brought back and taken away by the name of whose they are."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from nablahub.core.errors import NablaError
from nablahub.core.s3 import S3Store
from nablahub.storage.mounting import copying, fuse, showing
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
class Shown:
    """Where a mount is seen by somebody who runs already.

    Parameters
    ----------
    at : callable
        Tells where: by how it is made.
    without_fuse : str
        Why nobody would see a mount by FUSE there, in a sentence; empty when it would be seen.
    """

    at: Callable[[How], Path]
    without_fuse: str = ""


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
    lasting : bool
        Whether mounts are there for long: then FUSE tries again by itself what could not be sent.
    """

    def __init__(
        self,
        root: Path,
        opens: Opens,
        *,
        by: Literal["auto", "fuse", "copy"],
        free_bytes: int,
        remove: Callable[[Path], None],
        lasting: bool = False,
    ) -> None:
        self._root, self._opens, self._by, self._free = root, opens, by, free_bytes
        self._remove, self._lasting = remove, lasting

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
        return record.how == "copy" or (locked(folder) and fuse.answers(folder))

    def make(
        self,
        owner: str,
        name: str,
        wanted: BucketFolder,
        *,
        read_only: bool,
        tell: Callable[[str], None],
        stopped: Callable[[], bool] = lambda: False,
        shown: Shown | None = None,
    ) -> How:
        """Make a mount and return how; what a kill left of it is taken up or begun anew.

        Parameters
        ----------
        wanted : BucketFolder
            With the id of the provider.
        tell : callable
            Is told how far it is.
        stopped : callable
            Whether nobody wants it any more.
        shown : Shown or None
            Where it is seen; None: in its own folder.

        Raises
        ------
        MountFailed, MountTooBig, MountStopped, StoreAway, StoreRefused, NoSuchProvider
        """
        folder = self._root / owner / name
        known = Record.load(folder)
        if known is not None and self.ready(owner, name):
            if known.how == "copy" and shown is not None:
                showing.put(folder, shown.at("copy"), self._remove)
            return known.how
        store = self._opens.folder_store(wanted.storage, wanted.prefix)
        inside = f"{store.config.bucket}/{store.root}".rstrip("/")
        how = self._how(tell, shown.without_fuse if shown else "") if known is None else known.how
        record = Record(wanted.storage, wanted.prefix, inside, read_only, how).save(folder)
        if how == "fuse":
            if shown is not None:
                showing.note(folder, shown.at("fuse"))
            self._mount(folder, record, store, stopped)
            tell(f"Mounted s3://{inside}.")
        else:
            copying.copy(S3Folder(store), folder, Wanted(free_but(self._free), tell, stopped))
        if how == "copy" and shown is not None:
            record = replace(record, number=data(folder).stat().st_ino)
        record.at(folder, "ready")
        if how == "copy" and shown is not None:
            showing.put(folder, shown.at("copy"), self._remove)
        return how

    def _how(self, tell: Callable[[str], None], not_seen: str) -> How:
        if self._by == "copy":
            return "copy"
        without = fuse.missing() or not_seen or None
        if without is None:
            return "fuse"
        if self._by == "fuse":
            raise MountFailed(f"Buckets are mounted by FUSE here, which does not work: {without}")
        tell(f"No FUSE on this machine: {without}" if without != not_seen else without)
        return "copy"

    def _mount(
        self, folder: Path, record: Record, store: S3Store,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:  # fmt: skip
        # A wrong key shows here, in better words than rclone has, and not as an empty folder.
        S3Folder(store).check()
        fuse.mount(
            folder, store.config, store.root,
            read_only=record.read_only, guarded=self._opens.is_guarded(), lasting=self._lasting,
            stopped=stopped,
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

    def send(self, owner: str, tell: Callable[[str], None] = lambda _words: None) -> str:
        """Bring what was written so far into the buckets; the mounts stay, and may be written to.

        Returns
        -------
        str
            What could not be sent, in sentences; it stays, to be sent another time.
        """
        said = []
        for folder in self._folders(owner):
            record = Record.load(folder)
            if record is not None and record.stage == "ready" and not record.read_only:
                said.append(self._send(folder, record, tell))
        return " ".join(words for words in said if words)

    def withdraw(self, owner: str) -> None:
        """Let nobody write any more; what was changed is still to be sent, by :meth:`send`.

        Raises
        ------
        MountFailed
            A copy is not where it was shown, or a mount by FUSE is still there.
        """
        for folder in self._folders(owner):
            record = Record.load(folder)
            if record is not None and record.how == "copy":
                showing.take_back(folder, record.number)
            elif fuse.mounted(folder) or locked(folder):
                fuse.unmount(folder)

    def _save(self, folder: Path, record: Record, tell: Callable[[str], None]) -> Record:
        words = self._send(folder, record, tell)
        return record.at(folder, "failed" if words else "saved", words)

    def _send(self, folder: Path, record: Record, tell: Callable[[str], None]) -> str:
        """Return what could not be sent, in sentences."""
        if record.how == "fuse":
            return self._drained(folder, record)
        return give_back(lambda: self._reopened(folder, record), folder, folder.name, tell)

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
            showing.end(folder, self._remove)
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
