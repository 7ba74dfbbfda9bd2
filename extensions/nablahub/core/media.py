"""Which media type a file has, by its name: the same on every machine.

Python's own table, and what data has beside it; what the machine's ``/etc/mime.types`` says does
not count. https://www.iana.org/assignments/media-types/
"""

from __future__ import annotations

import mimetypes
from functools import lru_cache
from typing import Final

UNKNOWN: Final = "application/octet-stream"

_DATA: Final = {
    ".arrow": "application/vnd.apache.arrow.file",
    ".feather": "application/vnd.apache.arrow.file",
    ".flac": "audio/flac",
    ".geojson": "application/geo+json",
    ".ipynb": "application/x-ipynb+json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".ndjson": "application/x-ndjson",
    ".ogg": "audio/ogg",
    ".parquet": "application/vnd.apache.parquet",
    ".toml": "application/toml",
    ".webp": "image/webp",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
#: What a file is that is compressed, whatever is in it.
_COMPRESSED: Final = {
    "gzip": "application/gzip",
    "bzip2": "application/x-bzip2",
    "xz": "application/x-xz",
    "br": "application/x-brotli",
    "compress": "application/x-compress",
}
_table: Final = mimetypes.MimeTypes(filenames=())
for _suffix, _type in {**_DATA, ".zst": "application/zstd"}.items():
    _table.add_type(_type, _suffix)


def media_type(path: str) -> str:
    """Return the media type of a file, such as ``"text/csv"``."""
    # A name without a slash or a colon: never taken for a URL.
    return _of("x." + ".".join(path.rpartition("/")[2].split(".")[1:][-2:]))


@lru_cache(maxsize=4096)
def _of(name: str) -> str:
    kind, encoding = _table.guess_type(name.replace(":", "_"), strict=True)
    return _COMPRESSED.get(encoding, UNKNOWN) if encoding else kind or UNKNOWN
