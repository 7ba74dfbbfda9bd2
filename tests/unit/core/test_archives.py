"""Unpacking what somebody else packed: all of it as it was, or nothing and a sentence."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import stat
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nablahub.core.archives import BadArchive, Rules, unpack, unpack_tar

FILES = {"a.txt": b"one", "deep/er/b.bin": bytes(range(256)) * 300, "empty": b"", "ü/ß": b"2"}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "tar": lambda data: data,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
    "tar.zst": zstd.compress,
}


def tar(*members: tarfile.TarInfo | tuple[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    made = io.BytesIO()
    with tarfile.open(mode="w", fileobj=made, format=form) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member, io.BytesIO(b"x" * member.size))
                continue
            entry = tarfile.TarInfo(member[0])
            entry.size = len(member[1])
            archive.addfile(entry, io.BytesIO(member[1]))
    return made.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type = kind
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry


def zipped(*members: zipfile.ZipInfo | tuple[str, bytes], content: bytes = b"x") -> bytes:
    made = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of names that come twice.
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            for given_ in members:
                if isinstance(given_, zipfile.ZipInfo):
                    archive.writestr(given_, content)
                else:
                    archive.writestr(*given_)
    return made.getvalue()


def named(name: str, mode: int = 0o644 | stat.S_IFREG) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.filename = info.orig_filename = name
    info.external_attr = mode << 16
    return info


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def opened(folder: Path, data: bytes, rules: Rules | None = None) -> dict[str, bytes]:
    file = folder / "archive"
    file.write_bytes(data)
    unpack(file, folder / "out", rules)
    return tree(folder / "out")


def refused(folder: Path, data: bytes, words: str, rules: Rules | None = None) -> BadArchive:
    with pytest.raises(BadArchive) as told:
        opened(folder, data, rules)
    assert words in str(told.value)
    assert "\n" not in str(told.value)
    assert sorted(p.name for p in folder.iterdir()) == ["archive"]
    return told.value


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_a_tar_comes_out_as_it_went_in(tmp_path: Path, kind: str) -> None:
    packed = COMPRESSIONS[kind](tar(*FILES.items()))
    assert opened(tmp_path, packed) == FILES
    with io.BytesIO(packed) as stream:
        unpack_tar(stream, tmp_path / "again")
    assert tree(tmp_path / "again") == FILES


def test_a_zip_comes_out_as_it_went_in(tmp_path: Path) -> None:
    assert opened(tmp_path, zipped(("folder/", b""), *FILES.items())) == FILES
    assert (tmp_path / "out" / "folder").is_dir()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tar_writes_of_a_folder_is_taken(tmp_path: Path, form: int) -> None:
    dot = member(".", tarfile.DIRTYPE)
    long = "./" + "n" * 90 + "/" + "m" * 90
    data = tar(dot, member("./a", tarfile.DIRTYPE), ("./a/b", b"1"), (long, b"2"), form=form)
    assert opened(tmp_path, data) == {"a/b": b"1", long[2:]: b"2"}


def test_only_who_may_run_it_is_kept_of_a_mode(tmp_path: Path) -> None:
    data = tar(member("run", mode=0o6755), member("read", mode=0o4644))
    opened(tmp_path, data)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "out").iterdir()}
    assert modes == {"run": 0o700, "read": 0o600}
    zip_path = tmp_path / "z"
    zip_path.write_bytes(zipped(named("run", 0o6755 | stat.S_IFREG)))
    unpack(zip_path, tmp_path / "zip")
    assert stat.S_IMODE((tmp_path / "zip" / "run").stat().st_mode) == 0o700


BAD_NAMES = {
    "../evil": "'..'",
    "a/../../evil": "'..'",
    "/etc/evil": "absolute",
    "C:/evil": "absolute",
    "a\\evil": "backslash",
    "a\nevil": "a newline",
    "a\x1bevil": "control character",
    "%2e%2e/evil": "percent-decoded",
    "a%2f..%2fevil": "percent-decoded",
    "%252e%252e/evil": "percent-decoded",
    "a//evil": "an empty name",
    "a/./evil": "an empty name or '.'",
    "e" * 256: "more than 255 bytes",
    "ü" * 128: "more than 255 bytes",
    "d/" * 1200 + "evil": "2048 is the limit",
}


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_name_that_could_do_harm_is_refused(tmp_path: Path, name: str) -> None:
    for data in (tar(("fine", b"1"), (name, b"2")), zipped(("fine", b"1"), (named(name)))):
        told = refused(tmp_path, data, BAD_NAMES[name])
        assert name.encode("unicode_escape").decode()[:200] in str(told)


def test_a_name_with_a_nul_is_refused(tmp_path: Path) -> None:
    harmless = zipped(("goodXevil", b"1"))
    refused(tmp_path, harmless.replace(b"goodXevil", b"good\0evil"), "a NUL")
    entry = member("good")
    entry.pax_headers = {"path": "good\0evil"}
    refused(tmp_path, tar(entry), "a NUL")


def test_a_name_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, tar(("a\udcff", b""), form=tarfile.GNU_FORMAT), "not valid UTF-8")


KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    b"Z": "no file",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    data = tar(("fine", b"1"), member("odd", kind, linkname="/etc/passwd"))
    refused(tmp_path, data, "'odd' in the archive")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_no_file_is_refused_in_a_zip(tmp_path: Path, kind: int) -> None:
    refused(tmp_path, zipped(named("odd", 0o777 | kind)), "'odd' in the archive")


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    data = tar(member("way", tarfile.SYMTYPE, linkname=str(tmp_path)), ("way/evil", b"1"))
    refused(tmp_path, data, "'way' in the archive can't be unpacked: it is a link")


def test_sparse_files_are_refused(tmp_path: Path) -> None:
    old = member("holes", tarfile.GNUTYPE_SPARSE)
    refused(tmp_path, tar(old, form=tarfile.GNU_FORMAT), "a sparse file")
    new = member("holes")
    new.pax_headers = {"GNU.sparse.size": str(1 << 50), "GNU.sparse.map": "0,0"}
    refused(tmp_path, tar(new), "a sparse file")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (("a", "a"), "twice"),
        (("a", "./a"), "twice"),
        (("a/b", "a"), "twice"),
        (("a", "a/b"), "'a', in which it lies, is a file"),
        (("Read", "read"), "differ only in case"),
        (("Data/a", "data/b"), "differ only in case"),
        (("straße", "STRASSE"), "differ only in case"),
        (("\u00e9", "e\u0301"), "Unicode"),
    ],
)
def test_names_that_could_be_one_file_are_refused(
    tmp_path: Path, names: tuple[str, str], words: str
) -> None:
    pairs = [(name, b"1") for name in names]
    refused(tmp_path, tar(*pairs), words)
    refused(tmp_path, zipped(*pairs), words)


def test_case_is_kept_where_that_is_wanted(tmp_path: Path) -> None:
    rules = Rules(case_twins=True)
    assert set(opened(tmp_path, tar(("A/1", b""), ("a/1", b"")), rules)) == {"A/1", "a/1"}
    (tmp_path / "out").rename(tmp_path / "before")
    with pytest.raises(BadArchive, match="Unicode"):
        opened(tmp_path, tar(("\u00e9", b""), ("e\u0301", b"")), rules)


def test_a_bomb_is_refused_before_it_is_large(tmp_path: Path) -> None:
    strict, zeros = Rules(harmless=1 << 20), bytes(8 << 20)
    for kind in ("tar.gz", "tar.bz2", "tar.xz", "tar.zst"):
        refused(tmp_path, COMPRESSIONS[kind](tar(("zeros", zeros))), "200 times as long", strict)
    refused(tmp_path, zipped(("zeros", zeros)), "200 times as long", strict)


def test_the_limits_name_the_member_that_is_too_much(tmp_path: Path) -> None:
    few = Rules(size=10, count=3)
    for make in (tar, zipped):
        refused(tmp_path, make(("a", b"12345"), ("b", b"123456")), "'b' in the archive", few)
        refused(tmp_path, make(*[(c, b"") for c in "abcd"]), "'d' in the archive", few)
        refused(tmp_path, make(("a/b/c/d", b"")), "more than 3 files", few)


def test_a_size_that_is_a_lie_is_found(tmp_path: Path) -> None:
    data = bytearray(zipped(("a", b"x" * 100)))
    size = data.rindex(struct.pack("<L", 100))
    data[size : size + 4] = struct.pack("<L", 10)
    refused(tmp_path, bytes(data), "can't be unpacked")
    data[size : size + 4] = struct.pack("<L", 1000)
    refused(tmp_path, bytes(data), "can't be unpacked")


def test_members_that_share_bytes_are_refused(tmp_path: Path) -> None:
    """The kernel of Fifield's bomb: many names for one compressed part."""
    plain = zipped(("a", b"x" * 9), ("b", b"x" * 9))
    offset = plain.rindex(b"PK\x01\x02") + 42
    assert struct.unpack_from("<L", plain, offset)[0] > 0
    data = bytearray(plain)
    struct.pack_into("<L", data, offset, 0)
    refused(tmp_path, bytes(data), "shares bytes with another member")


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    data = bytearray(zipped(("secret", b"1")))
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1
    refused(tmp_path, bytes(data), "'secret' in the archive can't be unpacked: it is encrypted")


def test_a_header_that_never_ends_takes_no_memory(tmp_path: Path) -> None:
    entry = member("a")
    entry.pax_headers = {"comment": "c" * (3 << 20)}
    refused(tmp_path, gzip.compress(tar(entry)), "more than a header")


def test_an_archive_that_was_cut_off_leaves_nothing(tmp_path: Path) -> None:
    whole = tar(*FILES.items())
    for kind, compress in COMPRESSIONS.items():
        packed = compress(whole)
        for end in (600, len(packed) // 2, len(packed) - (10_000 if kind == "tar" else 4)):
            refused(tmp_path, packed[: min(end, len(packed) - 1)], "can't be unpacked")
    packed = zipped(*FILES.items())
    refused(tmp_path, packed[:-30], "can't be unpacked")


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    data = bytearray(tar(("a", b"1"), ("b", b"2")))
    data[1024] ^= 0xFF
    refused(tmp_path, bytes(data), "no whole tar archive")


@pytest.mark.parametrize("data", [b"", b"text", b"#!/bin/sh\n" * 100, bytes(100)])
def test_what_is_no_archive_is_refused(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, data, "archive")


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 1 << 32),
    kind=st.sampled_from([*COMPRESSIONS, "zip"]),
    flips=st.integers(1, 12),
)
def test_noise_makes_a_sentence_or_the_files(
    tmp_path_factory: pytest.TempPathFactory, seed: int, kind: str, flips: int
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    source = random.Random(seed)
    whole = zipped(*FILES.items()) if kind == "zip" else COMPRESSIONS[kind](tar(*FILES.items()))
    data = bytearray(whole)
    for _ in range(flips):
        data[source.randrange(len(data))] ^= 1 << source.randrange(8)
    inside = folder / "inside"
    inside.mkdir()
    try:
        opened(inside, bytes(data))
    except BadArchive:
        assert not (inside / "out").exists()
    for path in inside.rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISREG(mode) or stat.S_ISDIR(mode)
        assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX)
    assert [path.name for path in folder.iterdir()] == ["inside"]


NAMES = st.text(st.sampled_from("ab./\\\0\n%2eé\u0301A:"), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(names=st.lists(NAMES, min_size=1, max_size=4), portable=st.booleans())
def test_no_name_leads_outside(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], portable: bool
) -> None:
    folder = tmp_path_factory.mktemp("names")
    inside = folder / "inside"
    inside.mkdir()
    made = {"t": tar(*[(n, b"1") for n in names]), "z": zipped(*[named(n) for n in names])}
    for kind, data in made.items():
        try:
            assert len(opened(inside, data, Rules(portable=portable))) <= len(names)
            (inside / "out").rename(inside / kind)
        except BadArchive:
            assert not (inside / "out").exists()
    assert [path.name for path in folder.iterdir()] == ["inside"]
