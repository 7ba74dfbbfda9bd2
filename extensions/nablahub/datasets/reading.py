"""What clients of versioned files share: paths of the API, listing, reading, downloading."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from nablahub.core.paths import problem, show
from nablahub.core.transport import Transport
from nablahub.datasets.errors import NoSuchFile
from nablahub.datasets.fetching import BatchFetcher, Fetcher, entry_from
from nablahub.datasets.patience import patiently
from nablahub.datasets.sending import Progress, silent

if TYPE_CHECKING:
    from nablahub.datasets.types import File


def split(ref: str) -> tuple[str, str]:
    """Return base and version of a reference; the version is ``latest`` by default."""
    base, _, version = ref.partition(":")
    return base, version or "latest"


class FilesAPI:
    """Versions that have files; a reference is an id or name, maybe with ``:version``."""

    #: Below which path of the API they are.
    _root: ClassVar[str]
    _fetcher: ClassVar[type[Fetcher]] = Fetcher

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def _path(self, ref: str) -> str:
        return f"{self._root}/{quote(split(ref)[0], safe='')}"

    def _version_path(self, ref: str) -> str:
        return f"{self._path(ref)}/versions/{quote(split(ref)[1], safe='')}"

    def files(self, ref: str, *, prefix: str = "") -> Iterator[File]:
        """Yield the files of a version, by path."""
        from nablahub.datasets.types import File

        return map(File.model_validate, self._files(ref, prefix))

    def _files(self, ref: str, prefix: str) -> Iterator[dict[str, Any]]:
        path = f"{self._version_path(ref)}/files"
        return self._hub.pages(path, prefix=prefix or None, limit=1000)

    def read(self, ref: str, path: str) -> bytes:
        """Return a file's content."""
        return patiently(lambda: b"".join(self._stream(ref, path, tries=1)))

    def stream(self, ref: str, path: str) -> Iterator[bytes]:
        """Yield a file's content in pieces."""
        return self._stream(ref, path)

    def _stream(self, ref: str, path: str, *, tries: int | None = None) -> Iterator[bytes]:
        if problem(path):  # A URL with `..` in it would be that of something else.
            raise NoSuchFile(show(path), ref)
        where = f"{self._version_path(ref)}/files/{quote(path)}"
        with self._hub.stream("GET", where, tries=tries) as answer:
            yield from answer.iter_bytes()

    def fetch(
        self,
        ref: str,
        target: Path,
        *,
        path: str | None = None,
        progress: Progress = silent,
        overwrite: bool = True,
    ) -> None:
        """Get a whole version into a folder, or one file of it to a file name.

        Raises
        ------
        WouldOverwrite
            When a file is there with other bytes and ``overwrite`` is false.
        NoSuchFile
            When ``path`` is not in the version.
        """
        fetcher = self._fetcher(self._hub, self._version_path(ref), progress)
        if path is None:
            fetcher.fetch(target, overwrite=overwrite)
            return
        for file in self._files(ref, path):
            if file["path"] == path:
                fetcher.fetch_file(entry_from(file), target, overwrite=overwrite)
                return
        raise NoSuchFile(path, ref)


class DatasetReader(FilesAPI):
    """What of datasets is read without the types of the API, which take a while to load."""

    _root = "/datasets"
    _fetcher = BatchFetcher

    def _path(self, ref: str) -> str:
        """Return a dataset's place; ``<team>/<name>`` has a slash, so its id is asked for."""
        base = split(ref)[0]
        if "/" in base:
            base = self._hub.get("/datasets", ref=base)["items"][0]["id"]
        return f"{self._root}/{quote(base, safe='')}"

    def version_fields(self, ref: str) -> dict[str, Any]:
        """Return a version as the API shows it."""
        found: dict[str, Any] = self._hub.get(self._version_path(ref))
        return found
