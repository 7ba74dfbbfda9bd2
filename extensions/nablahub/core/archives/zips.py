"""The members of a zip archive.

https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT
"""

from __future__ import annotations

import lzma
import stat
import struct
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from nablahub.core.archives.laying import BadArchive, Laying

_HEADER: Final = 30
_ENCRYPTED: Final = 0x1
_MODE: Final = 16  # Where the mode of UNIX begins in the external attributes.
#: What Python's module raises at an archive that is damaged, or made to do damage.
_DAMAGE: Final = (
    zipfile.BadZipFile, NotImplementedError, ValueError, OverflowError, struct.error, zlib.error,
    lzma.LZMAError, EOFError,
)  # fmt: skip


def lay_zip(file: Path, laying: Laying) -> None:
    """Make the members of a zip archive.

    Raises
    ------
    BadArchive
        It is none, is damaged, has members that overlap, or one that the rules forbid.
    """
    packed = file.stat().st_size
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _refuse_overlaps(members, archive.start_dir)
            for member in members:
                _check(member, laying)
            laying.rules.check_ratio(sum(member.file_size for member in members), packed)
            for member in members:
                _lay(archive, member, laying)
    except _DAMAGE as error:
        raise BadArchive(f"it is no whole zip archive ({error})") from error


def _refuse_overlaps(members: Sequence[zipfile.ZipInfo], directory: int) -> None:
    """Refuse members that share bytes, by which a small file becomes an endless one.

    https://www.usenix.org/conference/woot19/presentation/fifield
    """
    last = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < last:
            raise BadArchive("it shares bytes with another member", member.orig_filename)
        last = member.header_offset + _HEADER + len(member.orig_filename) + member.compress_size
    if last > directory:
        raise BadArchive("its members share bytes with its directory")


def _check(member: zipfile.ZipInfo, laying: Laying) -> None:
    name = member.orig_filename
    if member.flag_bits & _ENCRYPTED:
        raise BadArchive("it is encrypted", name)
    laying.rules.check_ratio(member.file_size, member.compress_size, name)
    kind = stat.S_IFMT(member.external_attr >> _MODE)
    if kind == stat.S_IFLNK:
        raise BadArchive("it is a link", name)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise BadArchive("it is a device, a pipe or something else that is no file", name)


def _lay(archive: zipfile.ZipFile, member: zipfile.ZipInfo, laying: Laying) -> None:
    # Python's `filename` ends at a NUL: another name than the archive's.
    name = member.orig_filename
    if name.endswith("/"):
        if member.file_size:
            raise BadArchive("it is a folder with content", name)
        laying.folder(name)
        return
    with archive.open(member) as content:
        executable = bool(member.external_attr >> _MODE & 0o100)
        laying.file(name, member.file_size, content.read, executable=executable)
