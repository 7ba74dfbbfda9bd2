"""Bytes that no row counts yet: bodies on their way, and small files that wait for their pack.

They are counted while they come, whatever a request says of its length. Unfinished large objects
are not: they go on after days, and whoever sends one has said its size.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from nablahub.core.objects import check_room, full_storage

if TYPE_CHECKING:
    from nablahub.datasets.service import DatasetService
    from nablahub.datasets.store import UploadRow

#: Begins the name of an upload's folder, in that of its dataset.
PUSHED: Final = "pushed-"
#: Begins the name of a body that is coming.
COMING: Final = ".coming-"
#: Says in that folder that the upload is one request's, which ends it.
ONE_REQUEST: Final = ".one-request"
#: Bytes of a body of unknown length between two looks at what is left.
STEP: Final = 8 * 1024 * 1024


def folder_of(root: Path, upload: UploadRow) -> Path:
    """Return where small files of an upload wait for their pack; it goes with the upload.

    Parameters
    ----------
    root : pathlib.Path
        Folder of what arrives for the space.
    """
    return root / upload.dataset_id / f"{PUSHED}{upload.version}"


def mark(root: Path, upload: UploadRow) -> None:
    """Note that an upload ends with the request that began it, also when that is cut off."""
    with full_storage(root):
        folder = folder_of(root, upload)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ONE_REQUEST).touch()


class Waiting:
    """How many such bytes a space has: as many as there are, or more until they are looked at.

    Parameters
    ----------
    root : pathlib.Path
        Folder of what arrives for the space.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._coming = 0
        self._lying: int | None = None
        self._lock = threading.Lock()

    def come(self, size: int) -> None:
        """Count bytes on their way; less than 0 when they are no more."""
        with self._lock:
            self._coming += size

    def lay(self, size: int) -> None:
        """Count a file that was just laid down."""
        with self._lock:
            if self._lying is not None:
                self._lying += size

    def bytes(self, *, anew: bool) -> int:
        """Return how many there are; ``anew`` looks which files have gone since."""
        with self._lock:
            if anew or self._lying is None:
                self._lying = sum(map(_size, self._root.glob(f"*/{PUSHED}*/[!.]*")))
            return self._lying + self._coming


def _size(file: Path) -> int:
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


class Arrival:
    """One body that arrives; use it in a ``with`` block, until it is stored or gone.

    Parameters
    ----------
    space : str
        See :attr:`DatasetRow.space`.
    announced : int
        The bytes that its sender says it has, 0 when they don't.

    Raises
    ------
    DatasetQuota, StorageFull
        At its begin and while it comes, when there is no room for it.
    """

    def __init__(self, service: DatasetService, space: str, announced: int) -> None:
        self._service, self._space, self._announced = service, space, announced
        self._waiting = service.waiting(space)
        self._arrived = self._counted = 0
        self._granted = -1

    def __enter__(self) -> Self:
        self._check_room(self._announced)
        self._count(self._announced)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting.come(-self._counted)

    def take(self, size: int) -> None:
        """Count the next bytes, before they are written."""
        self._arrived += size
        self._check_room(size)
        if self._arrived > self._counted:
            self._count(self._arrived - self._counted)

    def lay(self) -> None:
        """Say that all of it lies in a file now that waits for its pack."""
        self._waiting.lay(self._arrived)

    def _check_room(self, size: int) -> None:
        settings = self._service.settings
        check_room(settings.state.objects, size, settings.min_free_bytes)

    def _count(self, more: int) -> None:
        total = self._counted + more
        if total > self._granted:
            building, quota = self._service.building, self._service.quota(self._space)
            left = building.read(quota.left) - self._waiting.bytes(anew=False)
            if left < more:
                building.check_quota(self._space, more, self._waiting.bytes(anew=True))
            self._granted = total + min(max(left - more, 0), STEP)
        self._counted = total
        self._waiting.come(more)
