"""Bodies of requests, as they are best sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

#: Bytes of a body that are handed on at once: what a connection's buffer does not take of them is
#: copied for the next try, so a body of 16 MiB in one piece is copied some 30 times.
PIECE = 256 * 1024


class Pieces:
    """A long body in pieces, which may be sent more than once."""

    def __init__(self, parts: Sequence[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts:
            view = memoryview(part)
            for start in range(0, len(view), PIECE):
                yield bytes(view[start : start + PIECE])


def sized(
    content: bytes | Sequence[bytes] | None, headers: Mapping[str, str] | None
) -> tuple[bytes | Pieces | None, Mapping[str, str] | None]:
    """Return a body as it is best sent, and the headers that go with it."""
    if content is None or (isinstance(content, bytes) and len(content) <= PIECE):
        return content, headers
    parts = [content] if isinstance(content, bytes) else content
    return Pieces(parts), {**(headers or {}), "Content-Length": str(sum(map(len, parts)))}
