"""A patched manifest is the one that the whole tree would have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nablahub.datasets import manifest
from nablahub.datasets.comparing import differences
from nablahub.datasets.errors import BadManifest, BadPath
from nablahub.datasets.manifest import Entry, Root, Rows, encode, paginate
from nablahub.datasets.patching import Patch, split_drops
from tests.unit.datasets.builders import entry

paths = st.text("abc/.0", min_size=1, max_size=4).filter(
    lambda p: all(part not in ("", ".", "..") for part in p.split("/"))
)


class Held:
    """A manifest in memory."""

    def __init__(self, entries: list[Entry]) -> None:
        stored = list(paginate([Rows.of(entries)]))
        self.root = Root(tuple(one.page for one in stored))
        self._pages = [Rows.of_page(one.data or b"") for one in stored]
        self.read: list[int] = []

    def page(self, number: int) -> list[Entry]:
        return self.rows(number).entries()

    def rows(self, number: int) -> Rows:
        self.read.append(number)
        return self._pages[number]

    def texts(self, numbers: Iterable[int]) -> dict[int, bytes]:
        wanted = list(numbers)
        self.read += wanted
        return {number: encode(self._pages[number].entries()) for number in wanted}


def tree_of(names: set[str], data: bytes = b"1") -> dict[str, Entry]:
    """Entries of those paths that can lie in one tree."""
    kept: dict[str, Entry] = {}
    for path in sorted(names):
        parts = path.split("/")
        if not any("/".join(parts[:n]) in kept for n in range(1, len(parts))):
            kept[path] = entry(path, data)
    return kept


@pytest.fixture(autouse=True, scope="module")
def small_pages() -> Iterator[None]:
    """Pages of about three files, at most eight: many of them in a small tree."""
    before = manifest.PAGE_FILES, manifest.PAGE_LIMIT
    manifest.PAGE_FILES, manifest.PAGE_LIMIT = 3, 8  # type: ignore[misc]  # only here
    yield
    manifest.PAGE_FILES, manifest.PAGE_LIMIT = before  # type: ignore[misc]


@settings(max_examples=300, deadline=None)
@given(st.sets(paths, max_size=60), st.sets(paths, max_size=8), st.sets(paths, max_size=8))
def test_it_is_cut_as_the_whole_tree_is(base: set[str], puts: set[str], drops: set[str]) -> None:
    old = tree_of(base)
    held = Held([old[p] for p in sorted(old)])
    new = {path: entry(path, b"2") for path in puts}
    wanted = {p: e for p, e in old.items() if p not in drops - puts} | new
    clash = any(
        other.startswith(f"{path}/") for path in wanted for other in wanted
    )  # fmt: skip
    patch = Patch(held, new, drops)
    if clash:
        with pytest.raises(BadPath):
            list(patch.pages())
        return
    pages = list(patch.pages())
    whole = [one.page for one in paginate([Rows.of(wanted[p] for p in sorted(wanted))])]
    assert [one.page for one in pages] == whole
    after = Held([wanted[p] for p in sorted(wanted)])
    found = {row.path: (row.old, row.new) for row in differences(held, after)}
    both = old.keys() | wanted.keys()
    assert found == {
        p: (old.get(p), wanted.get(p)) for p in both if old.get(p) != wanted.get(p)
    }  # fmt: skip


def test_only_the_pages_of_what_changed_are_read() -> None:
    names = {f"{n:05}" for n in range(3000)}
    tree = tree_of(names)
    held = Held([tree[p] for p in sorted(tree)])
    pages = list(Patch(held, {"01500": entry("01500", b"new")}, ()).pages())
    assert len(set(held.read)) <= 2
    assert sum(one.data is not None for one in pages) <= 2


def test_unicode_twins_are_refused() -> None:
    held = Held([entry("caf\u00e9", b"1")])
    with pytest.raises(BadPath, match="looks the same"):
        list(Patch(held, {"cafe\u0301": entry("cafe\u0301", b"1")}, ()).pages())


@pytest.mark.parametrize(
    ("there", "added"),
    [
        ("caf\u00e9/x", "cafe\u0301/x"), ("cafe\u0301/x", "caf\u00e9/y"),
        ("a/caf\u00e9/x", "a/cafe\u0301"), ("cafe\u0301", "caf\u00e9/y"),
        ("K/x", "\u212a/y"), ("\u212a", "K/y/\u00e9"), ("K", "\u212a"),
    ],
)  # fmt: skip
def test_folders_that_are_unicode_twins_are_refused(there: str, added: str) -> None:
    held = Held([entry(there, b"1")])
    with pytest.raises(BadPath, match="looks the same"):
        list(Patch(held, {added: entry(added, b"2")}, ()).pages())
    assert list(Patch(held, {added: entry(added, b"2")}, {there}).pages())
    assert list(Patch(held, {f"{there}-\u00e9": entry(there, b"2")}, ()).pages())


def test_drops_come_first() -> None:
    line = entry("b", b"1").line().encode()
    assert split_drops(b"- a\n- c d\n" + line) == (["a", "c d"], line)
    assert split_drops(line) == ([], line)
    with pytest.raises(BadManifest):
        split_drops(b"- \xff\n")
