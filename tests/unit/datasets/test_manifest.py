"""Manifests: canonical bytes, pages that stand alone, DVC's own hash beside them."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree
from hypothesis import given, settings
from hypothesis import strategies as st

from nablahub.core.objects import DirectoryStore
from nablahub.datasets.dvc import DirHasher, dir_chunks
from nablahub.datasets.errors import BadManifest, BadPath
from nablahub.datasets.manifest import (
    PAGE_FILES,
    Entry,
    Parser,
    Rows,
    decode,
    encode,
    order,
    paginate,
)
from nablahub.datasets.manifests import ManifestReader, write_manifest, write_pages
from nablahub.datasets.memory import Memory
from nablahub.datasets.patching import Patch
from nablahub.datasets.paths import check_path
from nablahub.datasets.roots import Roots

DIGEST = hashlib.md5(b"").hexdigest(), hashlib.sha256(b"").hexdigest()


def _valid(path: str) -> bool:
    try:
        check_path(path)
    except BadPath:
        return False
    return True


names = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\\%"), min_size=1
)
paths = st.lists(names, min_size=1, max_size=3).map("/".join).filter(_valid)
hexes = st.binary(min_size=16, max_size=16).map(bytes.hex)


@st.composite
def rows(draw: st.DrawFn) -> list[Entry]:
    """Sorted entries in which no file is a folder and no two look the same."""
    found = sorted(draw(st.sets(paths, max_size=12)), key=str.encode)
    parser, kept = Parser(), []
    for path in found:
        row = Entry(path, draw(st.sampled_from("fx")), draw(st.integers(0, 2**40)), *DIGEST)
        row = row._replace(md5=draw(hexes))
        try:
            list(parser.feed(row.line().encode()))
        except BadPath:
            continue
        kept.append(row)
    return kept


@given(rows())
def test_the_text_of_a_manifest_can_be_read_back(entries: list[Entry]) -> None:
    assert decode(encode(entries)) == entries


@given(rows(), st.integers(1, 50))
def test_it_is_read_alike_in_pieces_of_any_size(entries: list[Entry], step: int) -> None:
    data = encode(entries)
    parser = Parser()
    found = [e for i in range(0, len(data), step) for e in parser.feed(data[i : i + step])]
    parser.close()
    assert found == entries
    again = Parser()
    assert [
        e for i in range(0, len(data), step) for e in again.rows(data[i : i + step]).entries()
    ] == entries


@given(rows())
@settings(max_examples=200)
def test_the_dir_object_is_the_one_that_dvc_makes(entries: list[Entry]) -> None:
    tree = Tree()
    for e in entries:
        tree.add(tuple(e.path.split("/")), None, HashInfo("md5", e.md5))
    tree.digest()
    data = b"".join(dir_chunks(entries))
    assert data == tree.as_bytes()
    hasher = DirHasher()
    hasher.add(entries)
    found = hasher.finish()
    assert f"{found.md5}.dir" == tree.oid
    assert found.size == len(data)


class Counting(DirectoryStore):
    """A store that counts its reads."""

    reads = 0

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self.reads += 1
        return super().read(key, start, length)


def many(count: int) -> list[Entry]:
    made = [
        Entry(f"{i % 100:02}/{i:06}.bin", "f", i, f"{i:032x}", f"{i:064x}") for i in range(count)
    ]
    return sorted(made, key=order)


def test_adding_one_file_changes_one_page() -> None:
    entries = many(20_000)
    before = {page.digest for page, _ in paginate([Rows.of(entries)])}
    added = sorted([*entries, Entry("50/extra", "f", 1, *DIGEST)], key=order)
    after = {page.digest for page, _ in paginate([Rows.of(added)])}
    assert len(before) > 20_000 / PAGE_FILES / 3
    assert len(after - before) == 1
    removed = {
        page.digest
        for page, _ in paginate([Rows.of(e for e in entries if e.path != entries[777].path)])
    }
    assert len(removed - before) <= 1


def test_pages_are_shared_between_versions_and_all_is_read_back(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    entries = many(20_000)
    first = write_manifest(store, "ds1", "v1", [Rows.of(entries)])
    changed = [e._replace(size=9) if e.path == entries[5].path else e for e in entries]
    second = write_manifest(store, "ds1", "v2", [Rows.of(changed)], first.root)
    sizes = [store.size(f"manifests/ds1/{v}") or 0 for v in ("v1", "v2")]
    assert sizes[1] < sizes[0] / 5
    reader = ManifestReader(store, "ds1", "v2")
    assert list(reader.entries()) == changed
    assert reader.root.digest == second.root.digest != first.root.digest
    assert (reader.root.files, reader.root.size) == (20_000, sum(e.size for e in changed))


def test_the_digest_does_not_depend_on_where_pages_lie(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    entries = many(3000)
    first = write_manifest(store, "ds1", "v1", [Rows.of(entries)])
    again = write_manifest(store, "ds1", "v2", [Rows.of(entries)], first.root)
    alone = write_manifest(store, "ds2", "v1", [Rows.of(entries)])
    assert first.root.digest == again.root.digest == alone.root.digest


def test_one_file_is_found_and_lists_go_on_after_a_path(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    entries = many(5000)
    write_manifest(store, "ds1", "v1", [Rows.of(entries)])
    reader = ManifestReader(store, "ds1", "v1")
    for number in (0, 1, 999, 4999):
        assert reader.find(entries[number].path) == entries[number]
    assert reader.find("0") is None
    assert reader.find("zzz") is None
    assert list(reader.after("")) == entries
    assert list(reader.after(entries[2500].path)) == entries[2501:]
    assert list(reader.after("", prefix="07/")) == [e for e in entries if e.path.startswith("07/")]
    inside = [e for e in entries if e.path.startswith("07/")]
    assert list(reader.after(inside[10].path, prefix="07/")) == inside[11:]
    assert list(reader.after("", prefix="nothing")) == []


@given(st.sets(paths, min_size=1, max_size=12), paths)
def test_the_first_path_from_another_on_is_found(names: set[str], other: str) -> None:
    entries = sorted((Entry(name, "f", 7, *DIGEST) for name in names), key=order)
    with tempfile.TemporaryDirectory() as folder:
        write_manifest(DirectoryStore(Path(folder)), "ds1", "v1", [Rows.of(entries)])
        reader = ManifestReader(DirectoryStore(Path(folder)), "ds1", "v1")
        for path in [*names, other, f"{other}/", f"{other}\0"]:
            later = [entry for entry in entries if order(entry) >= path.encode()]
            assert reader.from_path(path) == (later[0] if later else None)
            assert reader.find(path) == (later[0] if path in names else None)


def test_many_pages_are_patched_with_few_reads(tmp_path: Path) -> None:
    store = Counting(tmp_path)
    before = many(60 * PAGE_FILES)
    old = write_manifest(store, "ds1", "v1", [Rows.of(before)]).root
    # Every other page lies with the second version, the others where they were.
    changed = {row.path: row._replace(md5="0" * 32) for row in before[:: 2 * PAGE_FILES]}
    pages = Patch(ManifestReader(store, "ds1", "v1"), changed, ()).pages()
    write_pages(store, "ds1", "v2", pages)
    again = {row.path: row._replace(md5="1" * 32) for row in before[:: PAGE_FILES // 2]}
    reader, store.reads = ManifestReader(store, "ds1", "v2"), 0
    touched = len({reader.root.find(path) for path in again})
    patched = write_pages(store, "ds1", "v3", Patch(reader, again, ()).pages())
    assert touched > len(old.pages) // 2 > 20
    assert store.reads < touched // 5
    wanted = [again.get(row.path, changed.get(row.path, row)) for row in before]
    assert list(ManifestReader(store, "ds1", "v3").entries()) == wanted
    assert patched.digest == write_manifest(store, "ds1", "v4", [Rows.of(wanted)]).root.digest


def test_pages_that_were_read_before_are_found_without_the_store(tmp_path: Path) -> None:
    store, roots = Counting(tmp_path), Roots(most=25)
    for number in range(3):
        tree = [Rows.of(many((number + 1) * 4 * PAGE_FILES))]
        write_manifest(store, "ds1", f"v{number}", tree)

    def pages(number: int) -> int:
        return len(ManifestReader(store, "ds1", f"v{number}", roots=roots).root.pages)

    store.reads = 0
    counts = [pages(number) for number in (0, 1, 0, 1)]
    assert counts[:2] == counts[2:]
    assert store.reads == 2
    assert sum(counts[:2]) + pages(2) > 25  # so the first one goes
    store.reads = 0
    assert (pages(2), store.reads) == (pages(2), 0)
    pages(0)
    assert store.reads == 1


def test_an_empty_version_is_a_version(tmp_path: Path) -> None:
    store = DirectoryStore(tmp_path)
    written = write_manifest(store, "ds1", "v1", [Rows.of([])])
    assert written.root.files == 0
    assert ManifestReader(store, "ds1", "v1").find("a") is None
    assert list(ManifestReader(store, "ds1", "v1").after("")) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("hello\n", "line 1: 'hello' is not"),
        (f"{DIGEST[0]} {DIGEST[1]} f 1 a\n{DIGEST[0]} x f 1 b\n", "line 2"),
        (f"{DIGEST[0]} {DIGEST[1]} l 1 a\n", "line 1"),
        (f"{DIGEST[0]} {DIGEST[1]} f -1 a\n", "line 1"),
        (f"{DIGEST[0]} {DIGEST[1]} f 1 a", "does not end with a newline"),
        (f"{DIGEST[0]} {DIGEST[1]} f 1 {'x' * 70000}", "longer than any"),
    ],
)
def test_what_is_no_manifest_is_named_by_its_line(text: str, problem: str) -> None:
    parser = Parser()
    with pytest.raises(BadManifest, match=problem):  # noqa: PT012
        list(parser.feed(text.encode()))
        parser.close()


def test_bytes_that_are_not_utf8() -> None:
    with pytest.raises(BadManifest, match="UTF-8"):
        list(Parser().feed(f"{DIGEST[0]} {DIGEST[1]} f 1 ".encode() + b"\xff\n"))


def test_a_page_that_was_proved_is_not_read_again_while_there_is_room(tmp_path: Path) -> None:
    store, pages = Counting(tmp_path), Memory(limit=3 * 150 * PAGE_FILES)
    entries = many(40 * PAGE_FILES)
    write_manifest(store, "ds1", "v1", [Rows.of(entries)])
    changed = [entries[0]._replace(md5="f" * 32), *entries[1:]]
    write_manifest(store, "ds1", "v2", [Rows.of(changed)], ManifestReader(store, "ds1", "v1").root)
    roots = Roots()

    def found(version: str, number: int) -> bool:
        wanted = (entries if version == "v1" else changed)[number]
        reader = ManifestReader(store, "ds1", version, roots=roots, pages=pages)
        assert len(reader.root.pages) > 10
        store.reads = 0
        assert reader.find(wanted.path) == wanted
        return store.reads == 0

    last = len(entries) - 1
    assert [found("v1", last), found("v1", last)] == [False, True]
    assert found("v2", last)  # It has the same page.
    assert [found("v1", 0), found("v2", 0), found("v2", 0)] == [False, False, True]
    # After many others it is gone.
    reader = ManifestReader(store, "ds1", "v1", roots=roots, pages=pages)
    assert list(reader.entries()) == entries
    assert not found("v1", 0)


def test_a_folder_is_listed_over_the_ends_of_pages(tmp_path: Path) -> None:
    entries = many(5 * PAGE_FILES)
    store = DirectoryStore(tmp_path)
    assert len(write_manifest(store, "ds1", "v1", [Rows.of(entries)]).root.pages) > 3
    reader = ManifestReader(store, "ds1", "v1")
    folders = list(dict.fromkeys(row.path.split("/")[0] for row in entries if "/" in row.path))
    top = [row for row in entries if "/" not in row.path]
    listed = list(reader.folder(""))
    assert [row for row in listed if isinstance(row, str)] == folders
    assert [row for row in listed if not isinstance(row, str)] == top
    for name in folders[:3]:
        inside = [row for row in entries if row.path.startswith(f"{name}/")]
        assert list(reader.folder(f"{name}/")) == inside
        assert list(reader.folder(f"{name}/", inside[1].path)) == inside[2:]
