"""Datasets as an fsspec file system: ``nabla://name:tag/path``, for pandas, polars, dask and all.

It reads; versions never change, so new ones are made by drafts or uploads. Without a version the
latest is meant: the one that is the latest when it is first looked at, for as long as the file
system lives, so that a program never reads half of one version and half of the next.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from typing import Any, ClassVar
from urllib.parse import quote

from fsspec import AbstractFileSystem
from fsspec.spec import AbstractBufferedFile

from nablahub.core.errors import NablaError, NotFound
from nablahub.core.paths import problem, show
from nablahub.core.transport import Transport, connect
from nablahub.datasets.patience import patiently
from nablahub.datasets.reading import DatasetReader, split

_READ_ONLY = "Versions of datasets never change; make a new one with `nablahub datasets put`."


class NablaFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """Files of versions of datasets.

    Parameters
    ----------
    hub, token : str or None
        Which hub, and as whom; by default as every command finds it.
    """

    protocol = "nabla"
    root_marker = ""
    #: Files are read by ranges, whose length is known beforehand.
    blocksize: ClassVar[int] = 4 * 1024 * 1024

    def __init__(self, hub: str | None = None, token: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._address, self._token = hub, token
        self._transport: Transport | None = None
        self._pinned: dict[str, str] = {}

    @property
    def _hub(self) -> Transport:
        if self._transport is None:
            self._transport = connect(self._address, self._token)
            weakref.finalize(self, self._transport.close)
        return self._transport

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        return str(path).removeprefix("nabla://").strip("/")

    def _split(self, path: str) -> tuple[str, str]:
        """Return the version's place in the API and the path in the version."""
        ref, inner = split_path(self._strip_protocol(path))
        if not ref:
            raise FileNotFoundError("Name a dataset: nabla://NAME:VERSION/PATH")
        for part in (inner, *split(ref)):  # A URL with `..` in it would be that of something else.
            if part and (wrong := problem(part)):
                raise FileNotFoundError(f"There is no '{show(path)}' in datasets: {wrong}.")
        if ref not in self._pinned:
            try:
                self._pinned[ref] = DatasetReader(self._hub).version_fields(ref)["id"]
            except NotFound as error:
                raise FileNotFoundError(str(error)) from error
        base, version = split(self._pinned[ref])
        return f"/datasets/{base}/versions/{version}", inner

    def invalidate_cache(self, path: str | None = None) -> None:
        """Look anew at what tags and `latest` mean."""
        self._pinned.clear()

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """List a folder of a version, or one file."""
        path = self._strip_protocol(path)
        where, inner = self._split(path)
        ref = split_path(path)[0]
        found = [
            _info(f"{ref}/{item['path']}", item)
            for item in self._hub.pages(f"{where}/tree", folder=inner, limit=1000)
        ]
        if not found and inner:
            found = [self.info(path)]
        return found if detail else [item["name"] for item in found]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Return size, type and hashes of a file, or that it is a folder."""
        path = self._strip_protocol(path)
        where, inner = self._split(path)
        if not inner:
            return {"name": path, "type": "directory", "size": 0}
        files = f"{where}/files"
        for item in self._hub.get(files, prefix=inner, limit=1)["items"]:
            if item["path"] == inner:
                return _info(path, item)
        if self._hub.get(files, prefix=f"{inner}/", limit=1)["items"]:
            return {"name": path, "type": "directory", "size": 0}
        raise FileNotFoundError(path)

    def exists(self, path: str, **_: Any) -> bool:
        """Tell whether there is such a file or folder; raises when that can't be found out."""
        return self._type(path) is not None

    def isfile(self, path: str) -> bool:
        """Tell whether there is such a file, as :meth:`exists`."""
        return self._type(path) == "file"

    def _type(self, path: str) -> str | None:
        with suppress(FileNotFoundError, NotFound):
            return str(self.info(path)["type"])
        return None

    def ukey(self, path: str) -> str:
        """Return the sha256 of a file: a cache may keep it for ever."""
        return str(self.info(path).get("sha256", path))

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **_: Any
    ) -> bytes:
        """Return a file's bytes, or a range of them."""
        where, inner = self._split(path)
        if (start is not None and start < 0) or (end is not None and end < 0):
            size = self.info(path)["size"]
            start = size + start if start is not None and start < 0 else start
            end = size + end if end is not None and end < 0 else end
        first = start or 0
        if end is not None and end <= first:
            return b""
        headers = {}
        if first or end is not None:
            headers["Range"] = f"bytes={first}-{'' if end is None else end - 1}"

        def get() -> bytes:
            url = f"{where}/files/{quote(inner)}"
            with self._hub.stream("GET", url, headers=headers, tries=1) as answer:
                return b"".join(answer.iter_bytes())

        try:
            return patiently(get)
        except NotFound as error:
            raise FileNotFoundError(str(error)) from error
        except NablaError as error:
            if first and first >= self.info(path)["size"]:
                return b""
            raise OSError(str(error)) from error

    def _open(
        self,
        path: str,
        mode: str = "rb",
        block_size: int | None = None,
        autocommit: bool = True,
        cache_options: dict[str, Any] | None = None,
        **options: Any,
    ) -> AbstractBufferedFile:
        if mode != "rb":
            raise OSError(_READ_ONLY)
        return NablaFile(
            self, path, mode, block_size or self.blocksize, autocommit,
            cache_options=cache_options, **options,
        )  # fmt: skip

    def _rm(self, path: str) -> None:
        raise OSError(_READ_ONLY)

    def mkdir(self, path: str, create_parents: bool = True, **options: Any) -> None:
        """Refuse: versions never change."""
        raise OSError(_READ_ONLY)

    makedirs = rmdir = mkdir


def split_path(path: str) -> tuple[str, str]:
    """Split ``name:version/inner`` or ``team/name:version/inner`` into reference and inner path."""
    first, _, rest = path.partition("/")
    second, _, inner = rest.partition("/")
    if ":" not in first and ":" in second:
        return f"{first}/{second}", inner
    return first, rest


class NablaFile(AbstractBufferedFile):  # type: ignore[misc]  # fsspec has no types
    """A file of a version, read by ranges."""

    def _fetch_range(self, start: int, end: int) -> bytes:
        data: bytes = self.fs.cat_file(self.path, start, end)
        return data


def _info(name: str, item: dict[str, Any]) -> dict[str, Any]:
    if item["kind"] == "folder":
        return {"name": name, "type": "directory", "size": 0}
    return {
        "name": name, "type": "file", "size": item["size"], "md5": item["md5"],
        "sha256": item["sha256"],
    }  # fmt: skip
