"""Rules of workspaces: kept by their content, for as long as jobs need them.

A row is written before the first byte of its object, and is `ready` once all of that is there; it
stops being so before the bytes go. Each has a key of its own, so that one that is just being
deleted is never taken for one that just came.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from nablahub.core.archives import unpack_tar
from nablahub.core.context import Context
from nablahub.core.database import Database
from nablahub.core.ids import new_id
from nablahub.core.objects import ObjectWriter
from nablahub.core.times import now
from nablahub.datasets.service import DatasetService
from nablahub.jobs.store import JobRow, WorkspaceRow
from nablahub.jobs.types import FINISHED
from nablahub.jobs.workspaces.errors import BadWorkspace, NoSuchWorkspace, WorkspaceQuota
from nablahub.jobs.workspaces.laying import RULES, Pieces
from nablahub.jobs.workspaces.types import LONGEST, Workspace
from nablahub.storage.service import StorageService

#: For how long one stays that no job needs: whoever runs the same again need not send it again.
KEPT: Final = timedelta(days=7)
#: The same where its team has no room for something else.
FRESH: Final = timedelta(hours=1)
#: After that an upload is taken for broken off.
ARRIVING: Final = timedelta(hours=6)
_PIECE: Final = 1 << 20
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class Workspaces:
    """Workspaces of teams."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._datasets = context.get(DatasetService)
        self._datasets.holders.append(_held)
        self._datasets.room_makers.append(self.make_room)
        #: Tell the ids of those that something else than a job is going to need.
        self.needers: list[Callable[[Session], Iterable[str]]] = []

    @property
    def _database(self) -> Database:
        return self._context.database

    def find(self, session: Session, team_id: str, digest: str) -> WorkspaceRow:
        """Return a team's workspace; NoSuchWorkspace when it is not there."""
        row = session.scalars(
            select(WorkspaceRow).where(
                WorkspaceRow.team_id == team_id, WorkspaceRow.digest == digest, WorkspaceRow.ready
            )
        ).first()
        if row is None:
            raise NoSuchWorkspace(digest)
        return row

    def use(self, session: Session, team_id: str, digest: str) -> str:
        """Return the id of a workspace that a job is going to need; otherwise as :meth:`find`."""
        row = self.find(session, team_id, digest)
        row.used_at = now()
        return row.id

    # All below blocks, and belongs into a thread.

    def taking(self, team_id: str, digest: str, size: int = 0) -> Taking:
        """Begin to take an archive in.

        Parameters
        ----------
        size : int
            Bytes that are announced.

        Raises
        ------
        BadWorkspace
        WorkspaceQuota
            The team's part of the store has no room for it.
        """
        if not _DIGEST.fullmatch(digest):
            raise BadWorkspace(
                "A workspace is named by its digest: 64 characters of 0-9 and a-f.",
                hint="It is the sha256 of the tar archive before it is compressed.",
            )
        left = self._left(team_id)
        if left < max(size, 1) and self.make_room(team_id):
            left = self._left(team_id)
        if left < max(size, 1):
            raise self._full(team_id)
        row_id = new_id("workspace")

        def begin(session: Session) -> None:
            at = now()
            session.add(WorkspaceRow(
                id=row_id, team_id=team_id, digest=digest, size=0, ready=False, created_at=at,
                used_at=at,
            ))  # fmt: skip

        self._database.write_sync(begin)
        store = self._context.get(StorageService).team_store(team_id)
        return Taking(store.create(_key(row_id)), row_id, digest, left)

    def _left(self, team_id: str) -> int:
        """Return how many bytes the team may still store."""
        return self._database.read_sync(self._datasets.quota(team_id).left)

    def _full(self, team_id: str) -> WorkspaceQuota:
        quota = self._datasets.quota(team_id)
        return WorkspaceQuota(self._database.read_sync(quota.used), quota.limit)

    def taken(self, taking: Taking, team_id: str) -> Workspace:
        """Make a workspace of what came, unless the same came from somebody else meanwhile."""
        if taking.overfull:
            raise self._full(team_id)
        taking.finish()
        quota = self._datasets.quota(team_id)

        def end(session: Session) -> Workspace:
            row = session.get_one(WorkspaceRow, taking.row_id)
            try:
                found = self.find(session, team_id, row.digest)
            except NoSuchWorkspace:
                used = quota.used(session)
                if used + taking.size > quota.limit:
                    raise WorkspaceQuota(used, quota.limit) from None
                row.size, row.ready, found = taking.size, True, row
            return Workspace(digest=found.digest, size=found.size)

        return self._database.write_sync(end)

    def end(self, taking: Taking, team_id: str) -> None:
        """Forget what came, unless it became a workspace."""
        taking.close()

        def needless(session: Session) -> bool:
            row = session.get(WorkspaceRow, taking.row_id)
            return row is not None and not row.ready

        if self._database.read_sync(needless):
            self._remove([(taking.row_id, team_id)])

    def chunks(self, workspace_id: str) -> Iterator[bytes]:
        """Yield a workspace's compressed archive; NoSuchWorkspace when it is not there."""
        row = self._database.read_sync(lambda s: s.get(WorkspaceRow, workspace_id))
        if row is None or not row.ready:
            raise NoSuchWorkspace(workspace_id)
        store = self._context.get(StorageService).team_store(row.team_id)
        return store.chunks(_key(row.id), 0, row.size)

    def unpack(self, workspace_id: str, target: Path) -> None:
        """Lay a workspace out as a folder that is not there yet.

        Raises
        ------
        NoSuchWorkspace, nablahub.core.archives.BadArchive, nablahub.core.errors.StorageFull
        """
        unpack_tar(Pieces(self.chunks(workspace_id)), target, RULES)

    def make_room(self, team_id: str) -> int:
        """Delete what no job of a team needs, unless it just came; return how many."""
        return self.collect(team_id, kept=FRESH)

    def collect(self, team_id: str | None = None, *, kept: timedelta = KEPT) -> int:
        """Delete what no job needs, and what is left of broken uploads; return how many.

        Parameters
        ----------
        team_id : str or None
            Only a team's.
        kept : timedelta
            How long one stays after it was last used.
        """
        at = now()

        def choose(session: Session) -> list[tuple[str, str]]:
            needed = select(JobRow.workspace_id).where(
                JobRow.state.not_in(sorted(FINISHED)), JobRow.workspace_id.is_not(None)
            )
            others = {needed for tell in self.needers for needed in tell(session)}
            unused = WorkspaceRow.ready & (WorkspaceRow.used_at < at - kept)
            broken = ~WorkspaceRow.ready & (WorkspaceRow.created_at < at - ARRIVING)
            query = select(WorkspaceRow).where(unused | broken, WorkspaceRow.id.not_in(needed))
            if team_id is not None:
                query = query.where(WorkspaceRow.team_id == team_id)
            rows = [row for row in session.scalars(query.limit(1000)) if row.id not in others]
            for row in rows:
                row.ready = False
            return [(row.id, row.team_id) for row in rows]

        return self._remove(self._database.write_sync(choose))

    def _remove(self, chosen: list[tuple[str, str]]) -> int:
        """Delete objects and then their rows; a kill in between leaves rows, for the next time."""
        for row_id, team_id in chosen:
            self._context.get(StorageService).team_store(team_id).remove(_key(row_id))
        if chosen:
            gone = delete(WorkspaceRow).where(WorkspaceRow.id.in_([row_id for row_id, _ in chosen]))
            self._database.write_sync(lambda s: s.execute(gone))
        return len(chosen)


def _held(session: Session, team_id: str) -> int:
    size = select(func.coalesce(func.sum(WorkspaceRow.size), 0))
    return int(session.execute(size.where(WorkspaceRow.team_id == team_id)).scalar_one())


def _key(row_id: str) -> str:
    return f"workspaces/{row_id}"


class Taking:
    """An archive that comes; it is proved while it does, and is not kept when it is wrong."""

    def __init__(self, writer: ObjectWriter, row_id: str, digest: str, room: int) -> None:
        self.row_id = row_id
        self.size = 0
        self._room = room
        self._writer = writer
        self._digest = digest
        self._hash = hashlib.sha256()
        self._plain = 0
        self._unpacker = zlib.decompressobj(31)  # gzip

    def feed(self, data: bytes) -> None:
        """Take bytes; BadWorkspace when they can't be those of an archive of that digest."""
        self.size += len(data)
        if self.overfull:
            return  # None of it will stay.
        self._writer.write(data)
        rest, plain = data, b""
        while rest or len(plain) == _PIECE:
            try:
                plain = self._unpacker.decompress(rest, _PIECE)
            except zlib.error as error:
                raise _wrong("it is not compressed by gzip") from error
            self._plain += len(plain)
            self._hash.update(plain)
            if self._plain > LONGEST:
                raise _wrong("it is longer than a workspace may be")
            rest = self._unpacker.unconsumed_tail
            if self._unpacker.unused_data or (self._unpacker.eof and rest):
                raise _wrong("something follows its end")

    @property
    def overfull(self) -> bool:
        """Whether more came than there is room for."""
        return self.size > self._room

    def finish(self) -> None:
        """Prove the end and make the object last."""
        if not self._unpacker.eof:
            raise _wrong("it is cut off")
        if self._hash.hexdigest() != self._digest:
            raise _wrong("its bytes are others than its digest promises")
        self._writer.commit()

    def close(self) -> None:
        """Let go of the object that was being written, if it is not whole."""
        self._writer.__exit__(None, None, None)


def _wrong(what: str) -> BadWorkspace:
    return BadWorkspace(
        f"The archive of the workspace can't be taken: {what}.", hint="Upload the folder again."
    )
