"""Taking a ``dvc push``: objects come one by one under their md5, the ``.dir`` last.

A large object is stored as it comes. Small ones wait as files until the ``.dir`` names them, and
are packed then. The ``.dir`` makes the version: whole, when everything it lists has arrived.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from nablahub.core.errors import Fault, Invalid
from nablahub.core.objects import full_storage
from nablahub.datasets import uploads
from nablahub.datasets.arriving import COMING, folder_of
from nablahub.datasets.contents import Contents
from nablahub.datasets.errors import BadObject, MissingObjects, UploadLost
from nablahub.datasets.lacking import SHOWN_FAULTS
from nablahub.datasets.manifest import KIND_FILE, Entry
from nablahub.datasets.packs import SMALL
from nablahub.datasets.paths import TreeRules, show
from nablahub.datasets.scan import Found
from nablahub.datasets.store import DatasetRow, UploadRow, VersionRow, objects_of
from nablahub.datasets.transfer_types import ObjectName
from nablahub.datasets.uploads import Origin

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService

SOURCE: Final = "dvc push"
_MD5: Final = re.compile("[0-9a-f]{32}")


def upload_of(session: Session, dataset: DatasetRow, author: str) -> UploadRow:
    """Return the author's push that is going on, or begin one: DVC does not say when it begins."""
    query = select(UploadRow).filter_by(dataset_id=dataset.id, author=author, source=SOURCE)
    found = session.scalars(query.order_by(UploadRow.created_at.desc()).limit(1)).first()
    return found or uploads.begin(session, dataset, Origin(author, SOURCE))


@dataclass
class Pushed:
    """One object that arrives; use it in a ``with`` block.

    Parameters
    ----------
    folder : pathlib.Path
        Where what arrives with its upload is collected.
    md5 : str
        What it claims to be; None when nothing is claimed.
    """

    folder: Path
    md5: str | None

    def __post_init__(self) -> None:
        self._coming = self.folder / f"{COMING}{secrets.token_hex(8)}"
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha256 = hashlib.sha256()
        self.sha256 = ""
        self.size = 0

    def __enter__(self) -> Pushed:
        with full_storage(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            self._opened = self._coming.open("xb", 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()
        self._coming.unlink(missing_ok=True)

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        with full_storage(self.folder):
            self._opened.write(data)
        self._md5.update(data)
        self._sha256.update(data)
        self.size += len(data)

    def finish(self) -> None:
        """Prove the object, whose sha256 is known then.

        A small one waits under its md5; a large one goes with the ``with`` block, unless somebody
        keeps :attr:`file` before: so no two requests ever share it.

        Raises
        ------
        BadObject
            When it is another one.
        UploadLost
            When its upload has ended meanwhile.
        """
        md5 = self._md5.hexdigest()
        if self.md5 is not None and md5 != self.md5:
            raise BadObject(
                f"The bytes do not have the md5 {self.md5}.", hint="Run `dvc push` again."
            )
        self.md5 = md5
        self._opened.close()
        self.file = self._coming
        try:
            if self.size <= SMALL:
                self.file = self._coming.replace(self.folder / md5)
            self.file.stat()
        except FileNotFoundError as error:  # It went with its upload.
            raise UploadLost from error
        self.sha256 = self._sha256.hexdigest()


def keep_large(
    service: DatasetService, dataset: DatasetRow, upload: UploadRow, pushed: Pushed
) -> None:
    """Make a large object part of the store; a small one waits for its pack."""
    if pushed.size > SMALL and pushed.md5 is not None:
        name = ObjectName(md5=pushed.md5, sha256=pushed.sha256, size=pushed.size)
        service.building.keep(dataset, upload, pushed.file, name)


def parse_tree(data: bytes, md5: str) -> list[tuple[str, str]]:
    """Return (path, md5) of the files that a ``.dir`` lists, sorted and checked.

    Raises
    ------
    BadObject
        When it is not the object its name says.
    BadPath, Invalid
        When it lists what can't be.
    """
    if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
        raise BadObject(f"The bytes do not have the md5 {md5}.", hint="Run `dvc push` again.")
    try:
        listed: Any = json.loads(data)
        if not isinstance(listed, list):
            raise TypeError
        rows = sorted(((row["relpath"], row["md5"]) for row in listed), key=_by_path)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Invalid(
            "The .dir object is not a list of files as DVC writes it.", hint="Push it with DVC."
        ) from error
    rules = TreeRules()
    for path, name in rows:
        rules.add(path)
        if not isinstance(name, str) or not _MD5.fullmatch(name):
            raise Invalid(f"'{show(path)}' has no md5.", hint="Push it with DVC 3.")
    return rows


def _by_path(row: tuple[str, str]) -> bytes:
    return row[0].encode("utf-8", "surrogatepass")


def commit_tree(
    service: DatasetService,
    dataset: DatasetRow,
    upload: UploadRow,
    rows: list[tuple[str, str]],
) -> VersionRow:
    """Make a version of a pushed tree.

    Raises
    ------
    MissingObjects
        Naming the files whose bytes never came.
    """
    contents = service.building.read(lambda s: service.contents(s, dataset))
    entries = list(_entries(service, dataset, upload, contents, rows))
    return service.building.committing.commit_entries(dataset, upload, entries, None)


def _entries(
    service: DatasetService,
    dataset: DatasetRow,
    upload: UploadRow,
    contents: Contents,
    rows: list[tuple[str, str]],
) -> Iterator[Entry]:
    packed = contents.packed()
    folder = folder_of(service.parts(dataset.space).root, upload)
    space, names = dataset.space, [md5 for _, md5 in rows]
    large = service.building.read(lambda s: objects_of(s, space, names))
    storer = service.building.storer(dataset, upload, contents)
    faults: list[Fault] = []
    lost = 0
    for path, md5 in rows:
        file = folder / md5
        if (known := packed.get(bytes.fromhex(md5))) is not None:
            row = known.table.at(known.number)
            yield Entry(path, KIND_FILE, row.size, md5, row.sha256.hex())
        elif (stored := large.get(md5)) is not None:
            yield Entry(path, KIND_FILE, stored.size, md5, stored.sha256)
        elif file.exists():
            yield storer.store(Found(path, str(file), file.stat().st_size, KIND_FILE))
        else:
            lost += 1
            if len(faults) < SHOWN_FAULTS:
                faults.append(Fault(f"{show(path)}: the bytes of md5 {md5} never arrived."))
    if lost:
        raise MissingObjects(faults, lost)
    storer.flush()
