"""How files that users wrote are sent: as data that no browser runs, whole or in part."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from nablahub.core.errors import Fault, Invalid
from nablahub.core.media import UNKNOWN, media_type

if TYPE_CHECKING:
    from nablahub.core.operations import StreamCall

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
#: What a browser would run if it were shown; such a file is only ever offered for saving.
ACTIVE: Final = (
    "text/html", "application/xhtml+xml", "image/svg+xml", "text/xml", "application/xml",
)  # fmt: skip


def read_range(header: str | None, size: int) -> tuple[int, int]:
    """Return start and length in bytes that a ``Range`` header asks for (RFC 9110, 14.2).

    Anything but one range of bytes is ignored, as the standard allows, and so is one of nothing.

    Raises
    ------
    Invalid
        When the range begins after the end.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or match[0] == "bytes=-" or not size:
        return 0, size
    first, last = match[1], match[2]
    if not first:
        length = min(int(last), size)
        return size - length, length
    start, end = int(first), min(int(last), size - 1) if last else size - 1
    if start >= size or end < start:
        raise Invalid(
            f"The file has {size} bytes; the range begins after its end.",
            errors=[Fault("Not within the file.", "/Range", hint="Leave the header out.")],
        )
    return start, end - start + 1


def take_range(call: StreamCall, size: int) -> tuple[int, int]:
    """Return start and length of what a request asks for, and say so in its answer.

    Raises
    ------
    Invalid
        As :func:`read_range`.
    """
    start, length = read_range(call.request_headers.get("Range"), size)
    if length != size:
        call.set_status(206)
        call.set_header("Content-Range", f"bytes {start}-{start + length - 1}/{size}")
    call.set_header("Content-Length", str(length))
    call.set_header("Accept-Ranges", "bytes")
    return start, length


def set_content_headers(call: StreamCall, path: str, *, download: bool) -> None:
    """Say what a file is by its name, and that nothing in it may be run; see :data:`ACTIVE`."""
    guess = media_type(path)
    kind = UNKNOWN if guess in ACTIVE else guess
    if kind.startswith("text/"):
        kind += "; charset=utf-8"
    how = "attachment" if download or guess in ACTIVE else "inline"
    name = quote(path.rpartition("/")[2], safe="")
    call.set_header("Content-Type", kind)
    call.set_header("Content-Disposition", f"{how}; filename*=UTF-8''{name}")
    call.set_header("Content-Security-Policy", "sandbox; default-src 'none'")
