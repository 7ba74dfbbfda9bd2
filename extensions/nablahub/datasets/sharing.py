"""Which other versions have files with the same damaged bytes: an object is stored once."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.permissions import Principal
from nablahub.datasets.errors import DamagedManifest
from nablahub.datasets.store import DatasetRow, LinkRow, VersionRow, versions_of
from nablahub.datasets.types import Sharer

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService

#: So many paths of a version are named.
NAMED: Final = 10
#: A file's line in a page begins with its md5, in hexadecimal.
_MD5: Final = 32


class Sharers:
    """Looks for damaged objects in the manifests of other versions; each page is read once.

    Parameters
    ----------
    service : DatasetService
        Whose stores.
    who : Principal
        Only what they may see is named.
    dataset, version
        What was found damaged.
    small, large : collection of str
        The md5s of its damaged objects; small ones are the dataset's alone.
    pages : collection of str
        The digests of its manifest's damaged pages.
    """

    def __init__(
        self,
        service: DatasetService,
        who: Principal,
        dataset: DatasetRow,
        version: VersionRow,
        *,
        small: Collection[str],
        large: Collection[str],
        pages: Collection[str],
    ) -> None:
        self._service, self._who = service, who
        self._dataset, self._version = dataset, version
        self._large = {md5.encode() for md5 in large}
        self._all = self._large | {md5.encode() for md5 in small}
        self._pages = set(pages)
        #: Of each page, by dataset and digest: how many of its files are damaged, and some of them.
        self._known: dict[tuple[str, str], tuple[int, list[str]]] = {}

    def find(self) -> Iterator[Sharer | None]:
        """Yield for each version that was looked at itself when it shares damage, else None."""
        if not self._all and not self._pages:
            return
        for dataset, version in self._service.building.read(self._candidates):
            files, paths = self._look(dataset, version)
            if files:
                yield Sharer(
                    version=version.id, dataset_name=dataset.name, files=files, paths=paths
                )
            else:
                yield None

    def _candidates(self, session: Session) -> list[tuple[DatasetRow, VersionRow]]:
        """Return all other versions of the dataset, and of those that refer to a damaged object."""
        linked: set[str] = set()
        wanted = sorted(md5.decode() for md5 in self._large)
        for start in range(0, len(wanted), 500):
            query = select(LinkRow.dataset_id).where(
                LinkRow.team_id == self._dataset.space, LinkRow.md5.in_(wanted[start : start + 500])
            )
            linked.update(session.scalars(query.distinct()))
        found = []
        for dataset_id in (self._dataset.id, *sorted(linked - {self._dataset.id})):
            dataset = session.get(DatasetRow, dataset_id)
            if dataset is None or not self._sees(dataset):
                continue
            rows = session.scalars(versions_of(dataset_id).order_by(VersionRow.number.desc()))
            found += [(dataset, row) for row in rows if row.id != self._version.id]
        return found

    def _sees(self, dataset: DatasetRow) -> bool:
        own = self._who.project_id in (None, dataset.project_id) or dataset.project_id is None
        return dataset.public or (dataset.team_id in self._who.team_ids and own)

    def _look(self, dataset: DatasetRow, version: VersionRow) -> tuple[int, list[str]]:
        """Return how many of a version's files are damaged in the same way, and some of them."""
        manifest = self._service.manifest(dataset, version)
        count, paths = 0, list[str]()
        try:
            pages = manifest.root.pages
        except DamagedManifest:  # It is told when that version is verified.
            return 0, []
        own = dataset.id == self._dataset.id
        for number, page in enumerate(pages):
            key = dataset.id, page.digest
            if own and page.digest in self._pages:
                self._known[key] = page.files, [page.first]
            if key not in self._known:
                try:
                    text = manifest.page_bytes(number)
                except DamagedManifest:
                    continue
                self._known[key] = _damaged_of(text, self._all if own else self._large)
            files, some = self._known[key]
            count += files
            paths += some[: NAMED - len(paths)]
        return count, paths


def _damaged_of(page: bytes, objects: set[bytes]) -> tuple[int, list[str]]:
    lines = [line for line in page.split(b"\n") if line[:_MD5] in objects]
    return len(lines), [line.decode().split(" ", 4)[4] for line in lines[:NAMED]]
