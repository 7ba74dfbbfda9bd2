"""Reading all stored bytes of a version, to find those that are no longer what they were.

A damaged object is restored where a good copy lies: in the team's cache of materialised trees, in
another pack of the dataset, or in another store of the team. Else it counts as missing from then
on, so that whoever still has the file can put it again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from nablahub.core.objects import CHUNK
from nablahub.core.permissions import Principal
from nablahub.core.times import now
from nablahub.datasets.contents import Contents, Place
from nablahub.datasets.errors import DamagedManifest
from nablahub.datasets.layout import cache_name, object_key, pack_key
from nablahub.datasets.manifest import Entry, Root
from nablahub.datasets.mending import restore_page
from nablahub.datasets.packs import SMALL, PackBuilder, pack_name
from nablahub.datasets.sharing import Sharers
from nablahub.datasets.store import (
    DamageRow,
    DatasetRow,
    ObjectRow,
    PackRow,
    TransferRow,
    VersionRow,
    pack_moment,
)
from nablahub.datasets.transfers import VERIFYING
from nablahub.datasets.types import Damage, Sharer, Verification
from nablahub.datasets.uploads import mend

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService

#: Something is told after so many bytes at the latest.
TOLD: Final = 64 * CHUNK
#: Neighbouring objects of a pack are read by one request up to this size.
RUN: Final = 8 * CHUNK


@dataclass
class Verifier:
    """Reads a version; blocks.

    Parameters
    ----------
    service : DatasetService
        Whose stores.
    who : Principal
        Who asks: of other versions that share the damage only those are named that they may see.
    dataset, version
        What is read.
    """

    service: DatasetService
    who: Principal
    dataset: DatasetRow
    version: VersionRow
    _places: dict[bytes, list[Place]] = field(default_factory=dict)
    _files: int = 0
    _bytes: int = 0
    _found: list[Damage] = field(default_factory=list)
    _seen: dict[str, Damage | None] = field(default_factory=dict)
    _lost_pages: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        building = self.service.building
        self._contents: Contents = building.read(lambda s: self.service.contents(s, self.dataset))
        self._store = self._contents.store

    def run(self) -> Iterator[Verification]:
        """Yield what was found so far, at least after each page of the manifest."""
        self._look_into_packs()
        manifest = self.service.manifest(self.dataset, self.version, anew=True)
        try:
            pages = manifest.root.pages
        except DamagedManifest as error:
            self._note_list(self.version.digest, Root(()), 0, error, restored=False)
            pages = ()
        for number, page in enumerate(pages):
            try:
                entries = manifest.page(number)
            except DamagedManifest as error:
                parts = (self.service, self.dataset, self.version, manifest, number)
                restored = restore_page(*parts)
                self._note_list(page.digest, manifest.root, number, error, restored=restored)
                yield self._told()
                if not restored:
                    continue
                entries = manifest.page(number)
            small = [entry for entry in entries if self._places.get(bytes.fromhex(entry.md5))]
            self._prove_small(small)
            yield self._told()
            for entry in entries:
                if bytes.fromhex(entry.md5) not in self._places:
                    yield from self._prove_large(entry)
        yield self._told()
        for sharer in self._sharers().find():
            yield self._told(sharing=[sharer] if sharer is not None else [])
        yield self._told(done=True)

    def _sharers(self) -> Sharers:
        lost = [damage for damage in self._seen.values() if damage and not damage.restored]
        return Sharers(
            self.service, self.who, self.dataset, self.version,
            small={damage.md5 for damage in lost if damage.size <= SMALL},
            large={damage.md5 for damage in lost if damage.size > SMALL}, pages=self._lost_pages,
        )  # fmt: skip

    def _told(self, *, done: bool = False, sharing: Sequence[Sharer] = ()) -> Verification:
        found, self._found = self._found, []
        return Verification(
            done=done, files=self._files, bytes=self._bytes, damaged=found, sharing=list(sharing)
        )

    def _note_list(
        self, digest: str, root: Root, number: int, error: DamagedManifest, *, restored: bool
    ) -> None:
        """Tell of a page of the manifest, or of all; whoever puts the files stores it anew."""
        page = root.pages[number] if root.pages else None
        self._found.append(
            Damage(
                path=page.first if page else "", md5=digest[:32], size=page.size if page else 0,
                problem=str(error.detail), restored=restored,
            )
        )  # fmt: skip
        if not restored:
            self._lost_pages.add(digest)
        space, dataset = self.dataset.space, self.dataset.id
        row = DamageRow(team_id=space, dataset_id=dataset, md5=digest[:32])

        def note(session: Session) -> None:
            if restored:
                mend(session, space, dataset, [digest[:32]])
            else:
                session.merge(row)

        self.service.building.write(note)

    def _look_into_packs(self) -> None:
        """Learn where small objects lie, newest pack first; a pack that is unreadable has none."""
        for pack in self._contents.packs:  # What was read long ago proves nothing.
            self.service.tables.forget(pack)
        for pack, table in self._contents.readable(reversed(self._contents.packs)):
            key = pack_key(self.dataset.id, pack)
            for row in table:
                place = Place(key, row.start, row.size)
                self._places.setdefault(row.md5, []).append(place)

    def _prove_small(self, entries: list[Entry]) -> None:
        """Read small objects, neighbours together."""
        wanted = sorted(entries, key=lambda entry: self._place(entry)[:2])
        run: list[Entry] = []
        for entry in wanted:
            if run and not self._continues(run, entry):
                self._prove_run(run)
                run = []
            run.append(entry)
        if run:
            self._prove_run(run)

    def _place(self, entry: Entry) -> Place:
        return self._places[bytes.fromhex(entry.md5)][0]

    def _continues(self, run: list[Entry], entry: Entry) -> bool:
        first, last, place = self._place(run[0]), self._place(run[-1]), self._place(entry)
        end = last.start + last.size
        return place.key == first.key and place.start <= end and end - first.start < RUN

    def _prove_run(self, run: list[Entry]) -> None:
        first, last = self._place(run[0]), self._place(run[-1])
        try:
            data = self._store.read(first.key, first.start, last.start + last.size - first.start)
        except FileNotFoundError:
            data = b""
        for entry in run:
            place = self._place(entry)
            at = place.start - first.start
            self._judge(entry, _is(data[at : at + place.size], entry))

    def _prove_large(self, entry: Entry) -> Iterator[Verification]:
        if entry.md5 in self._seen:
            self._judge(entry, whole=True)
            return
        digest, size, untold = hashlib.sha256(), 0, 0
        try:
            actual = self._store.size(object_key(entry.md5))
            for data in self._store.chunks(object_key(entry.md5), 0, actual or 0):
                digest.update(data)
                size += len(data)
                untold += len(data)
                if untold >= TOLD:
                    untold = 0
                    yield self._told()
        except FileNotFoundError:
            size = -1
        whole = (digest.hexdigest(), size) == (entry.sha256, entry.size)
        place = Place(object_key(entry.md5), 0, entry.size)
        self.service.proofs.found(self._contents, place, entry.sha256, whole=whole)
        self._judge(entry, whole)

    def _judge(self, entry: Entry, whole: bool) -> None:
        """Count a file, and name it when its bytes are not right."""
        self._files += 1
        self._bytes += entry.size
        known = self._seen.get(entry.md5)
        if known is not None:  # The same object under another name.
            self._found.append(known.model_copy(update={"path": entry.path}))
            return
        if whole or entry.md5 in self._seen:
            self._seen[entry.md5] = None
            return
        restored = self._restore(entry)
        damage = Damage(
            path=entry.path, md5=entry.md5, size=entry.size, restored=restored,
            problem="The stored bytes are gone or are not those that were stored.",
        )  # fmt: skip
        self._seen[entry.md5] = damage
        self._found.append(damage)

    # Putting a copy in its place.

    def _restore(self, entry: Entry) -> bool:
        small = entry.size <= SMALL
        for source in self._copies(entry):
            if small:
                data = b"".join(source)
                if _is(data, entry):
                    self._store_small(entry, data)
                    return True
            elif self._store_large(entry, source):
                return True
        space, dataset = self.dataset.space, self.dataset.id if small else ""

        def note(session: Session) -> None:
            session.merge(DamageRow(team_id=space, dataset_id=dataset, md5=entry.md5))

        self.service.building.write(note)
        return False

    def _copies(self, entry: Entry) -> Iterator[Iterator[bytes]]:
        """Yield what may be copies of an object, as their bytes."""
        state = self.service.settings.state
        name = cache_name(self.dataset.id, self.version.version)
        cached = state.cache / self.dataset.team_id / name / entry.path
        if cached.is_file():
            yield _read(cached)
        for place in self._places.get(bytes.fromhex(entry.md5), [])[1:]:
            yield self._store.chunks(place.key, place.start, place.size)
        if entry.size > SMALL:
            for space in self.service.building.read(lambda s: self._spaces(s, entry)):
                store = self.service.store(space)
                if store.size(object_key(entry.md5)) == entry.size:
                    yield store.chunks(object_key(entry.md5), 0, entry.size)

    def _spaces(self, session: Session, entry: Entry) -> list[str]:
        """Return the other spaces of the team that hold a large object."""
        mine = select(DatasetRow).where(DatasetRow.team_id == self.dataset.team_id)
        spaces = {row.space for row in session.scalars(mine)} - {self.dataset.space}
        query = select(ObjectRow.team_id).where(
            ObjectRow.team_id.in_(sorted(spaces)), ObjectRow.md5 == entry.md5
        )
        return list(session.scalars(query))

    def _store_small(self, entry: Entry, data: bytes) -> None:
        """Store an object once more, in a pack of its own: the newest pack counts."""
        builder = PackBuilder()
        builder.add(bytes.fromhex(entry.md5), bytes.fromhex(entry.sha256), data)
        parts = builder.parts()
        name = pack_name(parts[0])
        key = pack_key(self.dataset.id, name)
        claim = self.service.building.transfers.claim
        if self._store.local(key) is None:  # Should the hub die now, it is swept up.
            claim(self.dataset.space, key, "pack", VERIFYING)
        with self._store.create(key) as writer:
            for part in parts:
                writer.write(part)
            writer.commit()
        row = PackRow(
            dataset_id=self.dataset.id, pack=name, team_id=self.dataset.space,
            size=sum(map(len, parts)), count=1, upload_id=None, created_at=now(),
        )  # fmt: skip

        def count(session: Session) -> None:
            row.created_at = pack_moment(session, self.dataset.id)
            session.merge(row)
            session.execute(delete(TransferRow).filter_by(team_id=self.dataset.space, key=key))
            mend(session, self.dataset.space, self.dataset.id, [entry.md5])

        self.service.building.write(count)

    def _store_large(self, entry: Entry, source: Iterator[bytes]) -> bool:
        """Write a large object anew; false when the copy is not right either."""
        digest = hashlib.sha256()
        with self._store.create(object_key(entry.md5)) as writer:
            for data in source:
                digest.update(data)
                writer.write(data)
            if digest.hexdigest() != entry.sha256:
                return False
            writer.commit()
        self.service.building.write(lambda s: mend(s, self.dataset.space, "", [entry.md5]))
        return True


def _is(data: bytes, entry: Entry) -> bool:
    return len(data) == entry.size and hashlib.sha256(data).hexdigest() == entry.sha256


def _read(file: Path) -> Iterator[bytes]:
    with file.open("rb") as opened:
        while data := opened.read(CHUNK):
            yield data
