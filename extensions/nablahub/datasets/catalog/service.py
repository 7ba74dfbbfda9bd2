"""From an entry of the catalog to a dataset of a team: fetched, proved, committed, once."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.request import getproxies

import httpx
from sqlalchemy.orm import Session

from nablahub.core.archives import Rules, unpack
from nablahub.core.errors import NablaError, QuotaExceeded
from nablahub.core.guard import Guard
from nablahub.core.objects import check_room, full_storage
from nablahub.core.outbound import check_address
from nablahub.core.permissions import Principal
from nablahub.core.quantities import human
from nablahub.datasets.catalog.errors import SourceAway, WrongChecksum
from nablahub.datasets.catalog.form import Entry, FileEntry
from nablahub.datasets.catalog.reading import bundled
from nablahub.datasets.catalog.types import CatalogAdd, CatalogEntry, CatalogSource
from nablahub.datasets.errors import NameTaken
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import DatasetRow, by_name, versions_of
from nablahub.datasets.types import DatasetCreate

_SECONDS: Final = 60.0
_REDIRECTS: Final = 10


def as_wire(name: str, entry: Entry) -> CatalogEntry:
    """Return an entry as clients see it."""
    files = [
        CatalogSource(path=file.target, url=file.url, sha256=file.sha256, unpack=file.unpack)
        for file in entry.files
    ]
    return CatalogEntry(
        name=name, title=entry.title, description=entry.description, licence=entry.licence,
        source=entry.source, checked_by=entry.checked_by, offline=entry.offline, files=files,
    )  # fmt: skip


class Catalog:
    """The catalog of a hub.

    Parameters
    ----------
    datasets : DatasetService
        Where entries become datasets.
    """

    def __init__(self, datasets: DatasetService) -> None:
        self._datasets = datasets
        self._settings = datasets.settings
        self.live = datasets.catalog

    def begin(self, session: Session, who: Principal, name: str, asked: CatalogAdd) -> DatasetRow:
        """Return the dataset that an entry goes into, made when it is not there.

        Raises
        ------
        NoSuchEntry
            The catalog has none of that name.
        NameTaken
            The team has another dataset of that name.
        """
        entry = self.live.now().entry(name)
        wanted = DatasetCreate(
            name=asked.name or name, project=asked.project, team=asked.team,
            description=entry.story,
        )  # fmt: skip
        try:
            made = self._datasets.create(session, who, wanted).id
        except NameTaken:
            found = by_name(session, who.team_ids, wanted.name)
        else:
            return self._datasets.row(session, who, made)
        for row in found:
            versions = session.scalars(versions_of(row.id)).all()
            ours = any(version.source == source_of(name) for version in versions)
            # Without versions: somebody is just adding it, or it broke off.
            if ours or (not versions and row.description == entry.story):
                return self._datasets.row(session, who, row.id)
        raise NameTaken(wanted.name)

    def materialise(self, dataset: DatasetRow, who: Principal, name: str) -> str:
        """Commit an entry's files as a version of a dataset, and return its id; blocks.

        The same files make the same version: of that nothing is fetched again.

        Raises
        ------
        SourceAway, WrongChecksum, nablahub.core.archives.BadArchive, BadAddress, StorageFull
        """
        entry = self.live.now().entry(name)
        key = f"catalog/{dataset.id}/{entry.digest}"
        known = self._datasets.building.committing.by_key(key)
        if known is not None:
            return known
        space = self._settings.state.objects
        with full_storage(space):
            check_room(space, 0, self._settings.min_free_bytes)
            space.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".catalog-", dir=space) as folder:
                self._fill(entry, Path(folder))
                return self._datasets.commit_tree(
                    dataset.id, Path(folder, "tree"), key=key, author=who.name,
                    source=source_of(name), message=f"{entry.title} ({entry.licence})",
                )  # fmt: skip

    def _fill(self, entry: Entry, folder: Path) -> None:
        tree = folder / "tree"
        tree.mkdir()
        for number, file in enumerate(entry.files):
            target = folder / "packed" if file.unpack else tree / file.target
            target.parent.mkdir(parents=True, exist_ok=True)
            self._fetch(file, target)
            if file.unpack:
                inner = folder / f"unpacked-{number}"
                unpack(target, inner, Rules(case_twins=True))
                target.unlink()
                _merge(inner, tree)

    def _fetch(self, file: FileEntry, target: Path) -> None:
        """Get a file's bytes and prove them."""
        digest = hashlib.sha256()
        size, limit = 0, self._settings.dataset_quota_bytes
        with target.open("wb") as opened, closing(self._bytes(file)) as pieces:
            for piece in pieces:
                size += len(piece)
                if size > limit:
                    raise QuotaExceeded(
                        f"'{file.target}' has more than the {human(limit)} that a team may store.",
                        hint="Ask an administrator for more.",
                    )
                digest.update(piece)
                opened.write(piece)
        if digest.hexdigest() != file.sha256:
            raise WrongChecksum(file.url or file.target, digest.hexdigest(), file.sha256)

    def _bytes(self, file: FileEntry) -> Generator[bytes]:
        if file.bundled is not None:
            yield bundled(file.bundled)
            return
        address = file.address or ""
        guard: Guard | None = None
        private = self._settings.allow_private_addresses
        # A proxy of the machine's own decides by itself what may be reached.
        if not private and not getproxies().keys() & {"http", "https"}:
            check_address(address)  # Said in a better sentence than the guard has.
            guard = Guard()
        try:
            with (
                httpx.Client(
                    proxy=guard.url if guard else None, follow_redirects=True, timeout=_SECONDS,
                    max_redirects=_REDIRECTS,
                ) as client,
                client.stream("GET", address, headers={"Accept-Encoding": "identity"}) as answer,
            ):  # fmt: skip
                if not answer.is_success:
                    raise SourceAway(
                        f"{address} answers {answer.status_code}, so it was not fetched.",
                        hint="Try again later; if it stays, tell an administrator.",
                    )
                yield from answer.iter_raw(1 << 20)
        except httpx.HTTPError as error:
            raise SourceAway(
                f"{address} can't be fetched: {error}.",
                hint="Try again later, or ask an administrator whether the hub may reach it.",
            ) from error
        finally:
            if guard is not None:
                guard.close()


def source_of(name: str) -> str:
    """Return what a version tells of where it came from."""
    return f"catalog:{name}"


def _merge(source: Path, target: Path) -> None:
    """Move a tree's files into another one; NablaError when a file would be replaced."""
    for file in sorted(source.rglob("*")):
        place = target / file.relative_to(source)
        if file.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        elif place.exists():
            raise NablaError(
                f"Two sources of the entry have the file '{file.relative_to(source)}'.",
                hint="Tell an administrator, who can correct the catalog.",
            )
        else:
            file.rename(place)
