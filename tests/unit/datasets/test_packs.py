"""Packs: what goes in comes out, and nothing wrong gets in."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablahub.datasets.errors import BadObject
from nablahub.datasets.packs import (
    HEAD,
    PACK_BYTES,
    ROW,
    PackBuilder,
    PackChecker,
    PackIndex,
    build_head,
    pack_name,
    read_count,
)

contents = st.lists(st.binary(max_size=300), min_size=1, max_size=20)


def build(objects: list[bytes]) -> bytes:
    builder = PackBuilder()
    for data in objects:
        builder.add(hashlib.md5(data).digest(), hashlib.sha256(data).digest(), data)
    return b"".join(builder.parts())


def name_of(pack: bytes) -> str:
    return pack_name(pack[: HEAD + ROW * read_count(pack[:HEAD])])


def check(pack: bytes, step: int, digest: str | None = None) -> PackIndex:
    checker = PackChecker(digest)
    for start in range(0, len(pack), step):
        checker.feed(pack[start : start + step])
    return checker.finish()


@given(contents, st.integers(1, 2000))
def test_a_pack_is_proved_in_pieces_of_any_size(objects: list[bytes], step: int) -> None:
    pack = build(objects)
    index = check(pack, step, name_of(pack))
    for data in objects:
        row = index.find(hashlib.md5(data).digest())
        assert row is not None
        assert pack[row.start : row.start + row.size] == data
        assert row.sha256 == hashlib.sha256(data).digest()
    assert list(index) == [index.at(i) for i in range(index.count)]
    assert index.count == len(set(objects))
    assert index.find(b"0" * 16) is None


@given(contents, st.data())
def test_one_wrong_byte_is_refused(objects: list[bytes], data: st.DataObject) -> None:
    pack = bytearray(build(objects))
    place = data.draw(st.integers(0, len(pack) - 1))
    pack[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadObject):
        check(bytes(pack), 64, name_of(build(objects)))


@given(contents, st.data())
def test_a_pack_that_was_cut_or_continued_is_refused(
    objects: list[bytes], data: st.DataObject
) -> None:
    pack = build(objects)
    cut = data.draw(st.integers(0, len(pack) - 1))
    with pytest.raises(BadObject):
        check(pack[:cut], 100)
    with pytest.raises(BadObject):
        check(pack + b"x", 100)


def test_a_promise_of_more_than_a_pack_may_hold() -> None:
    with pytest.raises(BadObject, match="not a pack"):
        check(b"NABLPK1\n" + (2**40).to_bytes(8, "little"), HEAD)
    lie = build_head([(b"1" * 16, b"2" * 32, 2**40)])
    with pytest.raises(BadObject, match="size"):
        check(lie, 1000)


def test_a_match_across_two_neighbours_is_none() -> None:
    first, second = bytes(range(16)), bytes(range(16, 32))
    table = build_head([(first, b"0" * 32, 1), (second, b"0" * 32, 2)])[HEAD:]
    index = PackIndex(2, table)
    assert index.find(table[8:24]) is None
    assert (row := index.find(second)) is not None
    assert (row.start, row.size) == (HEAD + 2 * 56 + 1, 2)


def test_a_builder_closes_in_time_and_forgets_what_is_not_wanted() -> None:
    builder = PackBuilder()
    assert builder.fits(PACK_BYTES)
    for data in (b"1", b"2", b"3", b"3"):
        builder.add(hashlib.md5(data).digest(), hashlib.sha256(data).digest(), data)
    assert len(builder) == 3
    assert not builder.fits(PACK_BYTES)
    builder.keep([hashlib.md5(b"2").digest()])
    assert b"".join(builder.parts())[-1:] == b"2"
    assert (len(builder), builder.size) == (1, 1)
