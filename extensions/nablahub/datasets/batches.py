"""Many small objects in one answer, so that a client gets 4,000 files by one request."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError

from nablahub.core.errors import Fault, Invalid, Malformed, NotFound, TooLarge
from nablahub.core.objects import CHUNK
from nablahub.core.quantities import human
from nablahub.datasets.contents import Contents
from nablahub.datasets.layout import pack_key
from nablahub.datasets.packs import Packed, build_head
from nablahub.datasets.transfer_types import BatchRequest

LIMIT: Final = 64 * 1024 * 1024


def parse_request(body: bytes) -> BatchRequest:
    """Read the request; Malformed or Invalid when it is none."""
    try:
        return BatchRequest.model_validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise Malformed("The body is not JSON.", hint='Send {"md5": [...]}.') from error
        pointer = "".join(f"/{part}" for part in first["loc"])
        raise Invalid(
            "The body does not list md5s.", errors=[Fault(first["msg"], pointer)]
        ) from error


@dataclass(frozen=True)
class Batch:
    """A pack made for one answer."""

    contents: Contents
    rows: Sequence[tuple[str, Packed]]

    @property
    def _head(self) -> bytes:
        return build_head([(row.md5, row.sha256, row.size) for _, row in self.rows])

    @property
    def size(self) -> int:
        """Bytes of the whole pack."""
        return len(self._head) + sum(row.size for _, row in self.rows)

    def chunks(self) -> Iterator[bytes]:
        """Yield the pack's bytes; neighbours in a stored pack are read at once."""
        yield self._head
        run: list[tuple[str, int, int]] = []
        for pack, row in self.rows:
            last = run[-1] if run else None
            if last and last[0] == pack and last[1] + last[2] == row.start and last[2] < CHUNK:
                run[-1] = (pack, last[1], last[2] + row.size)
            else:
                run.append((pack, row.start, row.size))
        for pack, start, size in run:
            key = pack_key(self.contents.dataset, pack)
            yield from self.contents.store.chunks(key, start, size)


def batch_of(contents: Contents, md5s: Sequence[str]) -> Batch:
    """Find objects in a dataset's packs, in the order they lie in.

    Raises
    ------
    NotFound
        Naming the first that is in none of them.
    TooLarge
        When they are more than one answer should hold.
    """
    packed = contents.packed()
    found = {}
    for md5 in md5s:
        known = packed.get(bytes.fromhex(md5))
        if known is None:
            raise NotFound(
                f"No small object of this dataset has the md5 {md5}.",
                hint="Large ones are sent one by one, as files of a version.",
            )
        found[md5] = known
    order = sorted(found.values(), key=lambda known: (known.pack, known.number))
    rows = [(known.pack, known.table.at(known.number)) for known in order]
    total = sum(row.size for _, row in rows)
    if total > LIMIT:
        raise TooLarge(
            f"These objects have {human(total)} together; one answer holds {human(LIMIT)}.",
            hint="Ask for fewer at once.",
        )
    return Batch(contents, rows)
