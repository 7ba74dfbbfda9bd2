"""The two doors: an archive that is a file, and a tar archive that is just coming."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nablahub.core.archives.laying import BadArchive, Laying, Rules
from nablahub.core.archives.tars import Readable, compression, lay_tar
from nablahub.core.archives.zips import lay_zip

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_HEADER = 512


def unpack(file: Path, target: Path, rules: Rules | None = None) -> None:
    """Unpack a zip archive, or a tar archive: plain or with gzip, bzip2, xz or Zstandard.

    What it is is told by its content, not by its name.

    Parameters
    ----------
    file : pathlib.Path
        The archive.
    target : pathlib.Path
        Folder that is not there yet; after an error it is not there either.
    rules : Rules or None
        What the archive may be.

    Raises
    ------
    BadArchive
        Naming the member that can't be unpacked.
    nablahub.core.errors.StorageFull
        The disk is full.
    """
    with file.open("rb") as opened:
        head = opened.read(_HEADER)
        opened.seek(0)
        if not head.startswith(_ZIP) and compression(head) is None and len(head) < _HEADER:
            raise BadArchive("it is neither a zip nor a tar archive")
        with _made(target, rules) as laying:
            if head.startswith(_ZIP):
                lay_zip(file, laying)
            else:
                lay_tar(opened, laying)


def unpack_tar(source: Readable, target: Path, rules: Rules | None = None) -> None:
    """Unpack a tar archive while it comes; otherwise as :func:`unpack`."""
    with _made(target, rules) as laying:
        lay_tar(source, laying)


@contextmanager
def _made(target: Path, rules: Rules | None) -> Iterator[Laying]:
    laying = Laying(target, rules or Rules())
    try:
        yield laying
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
