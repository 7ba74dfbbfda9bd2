"""The rows of a ``.dir`` made from a page's bytes are those made from its entries."""

from __future__ import annotations

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

from nablahub.datasets.dvc import DirHasher, DirRows, rows_of
from nablahub.datasets.manifest import encode
from tests.unit.datasets.builders import entry

names = st.text(
    st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="/\\"),
    min_size=1, max_size=12,
)  # fmt: skip


@given(st.sets(names | st.from_regex(r"[a-z0-9 .\"-]{1,8}", fullmatch=True), max_size=20))
def test_rows_are_those_of_json(paths: set[str]) -> None:
    entries = [entry(path, path.encode()) for path in sorted(paths)]
    rows = [{"md5": e.md5, "relpath": e.path} for e in entries]
    assert f"[{rows_of(encode(entries)).decode()}]" == json.dumps(rows)
    hasher = DirHasher()
    for start in range(0, len(entries), 3):
        hasher.add_rows(rows_of(encode(entries[start : start + 3])))
    whole = json.dumps(rows).encode()
    made = hasher.finish()
    assert (made.md5, made.size) == (hashlib.md5(whole).hexdigest(), len(whole))


def test_what_is_kept_stays_small() -> None:
    kept = DirRows(limit=130)
    page = encode([entry("a", b"1")])
    asked: list[int] = []

    def read() -> bytes:
        asked.append(1)
        return page

    for digest in ("1", "1", "2", "3", "3", "1"):
        assert kept.get(digest, read) == rows_of(page)
    assert len(asked) == 4
