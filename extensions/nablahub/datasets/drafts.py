"""Versions built file by file: what a draft changes, and its commit beside those of others.

A draft begins with a version, its base. When another version came meanwhile, what the draft
changes is put upon that one, as long as nobody else changed the same paths.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from sqlalchemy.orm import Session

from nablahub.core.idempotency import KeyReused
from nablahub.datasets import uploads
from nablahub.datasets.arriving import folder_of
from nablahub.datasets.comparing import Empty, Manifest, differences
from nablahub.datasets.errors import (
    BadPath,
    DraftClash,
    MovedOn,
    NoSuchFile,
    ObjectBusy,
    UploadLost,
)
from nablahub.datasets.manifest import Entry, Rows
from nablahub.datasets.packs import SMALL
from nablahub.datasets.patching import Patch
from nablahub.datasets.paths import check_path, show
from nablahub.datasets.scan import Found
from nablahub.datasets.store import (
    ChangeRow,
    DatasetRow,
    UploadRow,
    VersionRow,
    by_key,
    changes_of,
)

if TYPE_CHECKING:
    from nablahub.datasets.building import Building
    from nablahub.datasets.service import DatasetService

#: How often a commit begins anew because others were faster, before it says so.
TRIES: Final = 20
#: What a draft puts (None: drops) by path.
Changes = dict[str, Entry | None]


class DraftMoved(Exception):
    """A draft was changed while it was committed."""


def stage(session: Session, upload: UploadRow, entry: Entry) -> None:
    """Note that a draft puts a file."""
    fields = {
        "kind": entry.kind, "size": entry.size, "md5": entry.md5, "sha256": entry.sha256
    }  # fmt: skip
    _note(session, upload, entry.path, fields)


def unstage(session: Session, upload: UploadRow, path: str) -> None:
    """Note that a draft drops a file."""
    _note(session, upload, path, dict.fromkeys(("kind", "size", "md5", "sha256")))


def _note(session: Session, upload: UploadRow, path: str, fields: dict[str, object]) -> None:
    uploads.touch(session, upload)
    row = session.get(ChangeRow, (upload.id, path))
    if row is None:
        row = ChangeRow(upload_id=upload.id, path=path)
        session.add(row)
    for name, value in fields.items():
        setattr(row, name, value)
    session.flush()


def entry_of(row: ChangeRow) -> Entry | None:
    """Return what a draft puts, None for what it drops."""
    if row.md5 is None or row.sha256 is None or row.size is None or row.kind is None:
        return None
    return Entry(row.path, row.kind, row.size, row.md5, row.sha256)


class Drafts:
    """Drafts of all datasets."""

    def __init__(self, building: Building, datasets: DatasetService) -> None:
        self._building, self._datasets = building, datasets

    def find(self, dataset: DatasetRow, upload: UploadRow, path: str) -> Entry:
        """Return a file as a draft has it; NoSuchFile when it has none of that path."""
        row = self._building.read(lambda s: s.get(ChangeRow, (upload.id, path)))
        if row is not None:
            found = entry_of(row)
        else:
            base = self._building.read(lambda s: _version(s, upload.base))
            found = self._datasets.manifest(dataset, base).find(path) if base else None
        if found is None:
            raise NoSuchFile(show(path), upload.id)
        return found

    def rename(self, dataset: DatasetRow, upload: UploadRow, old: str, new: str) -> Entry:
        """Give a file of a draft another path; its bytes are not touched."""
        entry = self.find(dataset, upload, old)._replace(path=check_path(new))

        def work(session: Session) -> None:
            unstage(session, upload, old)
            stage(session, upload, entry)

        self._building.write(work)
        return entry

    def drop(self, dataset: DatasetRow, upload: UploadRow, path: str) -> None:
        """Take a file out of a draft; NoSuchFile when it is not in it."""
        self.find(dataset, upload, path)
        self._building.write(lambda s: unstage(s, upload, path))

    def commit(self, dataset: DatasetRow, upload: UploadRow, *, rebase: bool) -> VersionRow:
        """Make a version of a draft.

        Raises
        ------
        DraftClash
            Naming the paths that others changed as well.
        MovedOn
            When there is a later version and ``rebase`` is false.
        BadPath, MissingObjects, UploadLost
        """

        def look(session: Session) -> tuple[Changes, VersionRow | None, VersionRow | None]:
            changes = _changes(session, upload)
            return changes, _version(session, upload.base), _latest(session, dataset.id)

        for _ in range(TRIES):
            changes, base, latest = self._building.read(look)
            with suppress(DraftMoved):  # What was put meanwhile belongs to it as well.
                return self._commit(
                    dataset, upload, (base, latest), changes, rebase=rebase, staged=True
                )
        raise ObjectBusy

    def write(
        self, dataset: DatasetRow, upload: UploadRow, entry: Entry, key: str | None
    ) -> VersionRow:
        """Make a version of an upload in which one file is new or has other bytes.

        Parameters
        ----------
        key : str or None
            Under which the version is found again: written twice with one key, there is one.

        Raises
        ------
        DraftClash, BadPath, MissingObjects, UploadLost
            As :meth:`commit`.
        """
        base = self._building.read(lambda s: _version(s, upload.base))
        return self._commit(dataset, upload, (base, base), {entry.path: entry}, key=key)

    def check_same(
        self, dataset: DatasetRow, done: VersionRow, path: str, sha256: str, kind: str
    ) -> None:
        """Raise KeyReused when the version that was made under a key has another file there."""
        if done.purged_at is not None:
            return
        found = self._datasets.manifest(dataset, done).find(path)
        if found is None or (found.sha256, found.kind) != (sha256, kind):
            raise KeyReused

    def _commit(
        self,
        dataset: DatasetRow,
        upload: UploadRow,
        versions: tuple[VersionRow | None, VersionRow | None],
        changes: Changes,
        *,
        rebase: bool = True,
        staged: bool = False,
        key: str | None = None,
    ) -> VersionRow:
        """Put changes upon the latest version; ``versions``: their base, and the latest.

        With ``staged``, DraftMoved when these are not the draft's changes any more.
        """
        puts = {path: entry for path, entry in changes.items() if entry is not None}
        drops = changes.keys() - puts.keys()

        def check(session: Session) -> None:
            if staged and _changes(session, upload) != changes:
                raise DraftMoved

        return self._building.committing.once(
            upload,
            lambda: self._upon(
                dataset, upload, versions, puts, drops, check, rebase=rebase, key=key
            ),
        )

    def _upon(
        self,
        dataset: DatasetRow,
        upload: UploadRow,
        versions: tuple[VersionRow | None, VersionRow | None],
        puts: dict[str, Entry],
        drops: set[str],
        check: Callable[[Session], None],
        *,
        rebase: bool,
        key: str | None,
    ) -> VersionRow:
        base, latest = versions
        self._pack(dataset, upload, puts)
        for _ in range(TRIES):
            name = None if latest is None else latest.id
            if name != upload.base:
                if not rebase:
                    raise MovedOn(upload.base, name)
                self._check(dataset, base, latest, puts, drops)
            try:
                return self._try(dataset, upload, latest, puts, drops, check, key)
            except uploads.LatestMoved:
                done = self._building.read(lambda s: by_key(s, key))
                if done is not None:  # The same was sent twice, and the other was faster.
                    for entry in puts.values():
                        self.check_same(dataset, done, entry.path, entry.sha256, entry.kind)
                    self._building.cancel(dataset.space, upload)
                    return done
                latest = self._building.read(lambda s: _latest(s, dataset.id))
        raise UploadLost

    def _manifest(self, dataset: DatasetRow, version: VersionRow | None) -> Manifest:
        return Empty() if version is None else self._datasets.manifest(dataset, version)

    def _check(
        self,
        dataset: DatasetRow,
        base: VersionRow | None,
        latest: VersionRow | None,
        puts: dict[str, Entry],
        drops: set[str],
    ) -> None:
        """Raise DraftClash when the same files were changed otherwise, or lie in each other."""
        theirs = differences(self._manifest(dataset, base), self._manifest(dataset, latest))
        clashing = [
            row.path
            for row in theirs
            if (row.path in puts and row.new != puts[row.path])
            or (row.path in drops and row.new is not None)
        ]
        if clashing:
            raise DraftClash(latest.id if latest else "the meantime", clashing)
        try:
            patch = Patch(self._manifest(dataset, latest), puts, drops)
            patch.check_added()
        except BadPath as error:  # One made a file where the other made a folder.
            raise DraftClash(latest.id if latest else "the meantime", [error.path]) from error

    def _pack(self, dataset: DatasetRow, upload: UploadRow, puts: dict[str, Entry]) -> None:
        """Store the small files that wait for it."""
        folder = folder_of(self._datasets.parts(dataset.space).root, upload)
        contents = self._building.read(lambda s: self._datasets.contents(s, dataset))
        storer = None
        seen: set[str] = set()
        for entry in puts.values():
            file = folder / entry.md5
            if entry.size > SMALL or entry.md5 in seen or not file.exists():
                continue
            seen.add(entry.md5)
            if contents.holders([entry.digest], [entry.size])[0] is None:
                contents.check_others([entry.digest])
                storer = storer or self._building.storer(dataset, upload, contents, set())
                storer.store(Found(entry.path, str(file), entry.size, entry.kind))
        if storer is not None:
            storer.flush()

    def _try(
        self,
        dataset: DatasetRow,
        upload: UploadRow,
        latest: VersionRow | None,
        puts: dict[str, Entry],
        drops: set[str],
        still: Callable[[Session], None],
        key: str | None,
    ) -> VersionRow:
        store = self._building.committing.claim_store(dataset, upload)

        check = self._building.committing.check(dataset)
        for _ in check.through([Rows.of(puts.values())]):
            pass
        written = self._datasets.write_patch(store, dataset, upload.version, latest, puts, drops)

        def make(session: Session) -> VersionRow:
            still(session)
            uploads.expect_latest(session, dataset.id, None if latest is None else latest.id)
            return uploads.finish(session, upload, check, written, key, latest)

        return self._building.committing.finish(dataset, upload, make)


def _changes(session: Session, upload: UploadRow) -> Changes:
    return {row.path: entry_of(row) for row in changes_of(session, upload.id)}


def _version(session: Session, version_id: str | None) -> VersionRow | None:
    return session.get(VersionRow, version_id) if version_id else None


def _latest(session: Session, dataset_id: str) -> VersionRow | None:
    return _version(session, session.get_one(DatasetRow, dataset_id).latest)
