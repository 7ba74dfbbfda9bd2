"""Scanning a folder: every kind of thing that can lie in one."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from nablahub.datasets.errors import BadPath, ChangedWhileRead
from nablahub.datasets.scan import digest, read_chunks, read_range, read_small, scan
from tests.unit.datasets.builders import entry, write


def test_files_are_sorted_by_bytes_and_read_once(tmp_path: Path) -> None:
    files = {"b": b"1", "a/x": b"22", "a-x": b"", "Z": b"4", "é": b"5"}
    found = scan(write(tmp_path, files))
    assert [f.path for f in found.files] == ["Z", "a-x", "a/x", "b", "é"]
    assert found.size == 5
    for item in found.files:
        data, md5, sha256 = read_small(item, 100)
        expected = entry(item.path, files[item.path])
        assert (data, md5.hex(), sha256.hex()) == (files[item.path], expected.md5, expected.sha256)
        assert digest(item) == (expected.md5, expected.sha256)


def test_one_file_is_a_tree_of_one(tmp_path: Path) -> None:
    write(tmp_path, {"a.csv": b"1", "other": b"2"})
    assert [f.path for f in scan(tmp_path / "a.csv").files] == ["a.csv"]


def test_executables_empty_files_and_empty_folders(tmp_path: Path) -> None:
    write(tmp_path, {"run.sh": b"#!", "nothing": b""})
    (tmp_path / "run.sh").chmod(0o755)
    (tmp_path / "void/inner").mkdir(parents=True)
    found = scan(tmp_path)
    assert [(f.path, f.kind, f.size) for f in found.files] == [
        ("nothing", "f", 0),
        ("run.sh", "x", 2),
    ]
    assert found.empty == ["void/inner"]


def test_sparse_files_have_their_full_size(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(3_000_000)
    (found,) = scan(tmp_path).files
    assert found.size == 3_000_000
    assert digest(found)[0] == entry("", bytes(3_000_000)).md5


def test_links_within_the_tree_become_files(tmp_path: Path) -> None:
    write(tmp_path, {"a/real": b"content"})
    (tmp_path / "link").symlink_to("a/real")
    found = {f.path: read_small(f, 100)[0] for f in scan(tmp_path).files}
    assert found == {"a/real": b"content", "link": b"content"}


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("../secret", "leads out"),
        ("/etc/hostname", "absolute"),
        ("nowhere", "leads nowhere"),
        ("folder", "link to a folder"),
        (".", "leads out|link to a folder"),
    ],
)
def test_other_links_are_refused(tmp_path: Path, target: str, problem: str) -> None:
    (tmp_path / "secret").write_text("secret")
    tree = tmp_path / "tree"
    (tree / "folder").mkdir(parents=True)
    (tree / "link").symlink_to(target)
    with pytest.raises(BadPath, match=problem):
        scan(tree)


def test_a_sibling_that_shares_the_prefix_is_outside(tmp_path: Path) -> None:
    write(tmp_path, {"tree/a": b"1", "tree-secret/b": b"2"})
    (tmp_path / "tree/link").symlink_to("../tree-secret/b")
    with pytest.raises(BadPath, match="leads out"):
        scan(tmp_path / "tree")


def test_pipes_and_sockets_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadPath, match="named pipe"):
        scan(tmp_path)
    (tmp_path / "pipe").unlink()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        with pytest.raises(BadPath, match="socket"):
            scan(tmp_path)


@pytest.mark.parametrize("name", [b"new\nline", b"back\\slash", b"\xff\xfe", b"%2e%2e"])
def test_names_that_a_dataset_cannot_have(tmp_path: Path, name: bytes) -> None:
    folder = os.fsencode(tmp_path)
    descriptor = os.open(folder + b"/" + name, os.O_CREAT | os.O_WRONLY)
    os.close(descriptor)
    with pytest.raises(BadPath, match="can't be in a dataset"):
        scan(tmp_path)


@pytest.mark.parametrize("size", [5, 50])
def test_a_file_that_grows_is_noticed(tmp_path: Path, size: int) -> None:
    write(tmp_path, {"log": b"x" * 10})
    (found,) = scan(tmp_path).files
    (tmp_path / "log").write_bytes(b"y" * size)
    with pytest.raises(ChangedWhileRead, match="'log' changed"):
        read_small(found, 100)
    with pytest.raises(ChangedWhileRead, match="'log' changed"):
        digest(found)


PARTS = [(0, 700_000), (1, 300_000), (699_999, 1), (700_000, 0)]


@pytest.mark.parametrize(("start", "size"), PARTS)
def test_a_part_of_a_file_is_read(tmp_path: Path, start: int, size: int) -> None:
    data = bytes(range(250)) * 2800
    write(tmp_path, {"log": data})
    (found,) = scan(tmp_path).files
    assert b"".join(read_range(found, start, size)) == data[start : start + size]


@pytest.mark.parametrize("size", [5, 50])
def test_a_file_that_is_no_longer_as_long_is_noticed_in_any_part(tmp_path: Path, size: int) -> None:
    write(tmp_path, {"log": b"x" * 10})
    (found,) = scan(tmp_path).files
    (tmp_path / "log").write_bytes(b"y" * size)
    with pytest.raises(ChangedWhileRead, match="'log' changed"):
        b"".join(read_range(found, 2, 6))


def test_a_file_that_grows_as_fast_as_it_is_read_has_an_end(tmp_path: Path) -> None:
    write(tmp_path, {"log": b"x" * 10})
    (found,) = scan(tmp_path).files

    def read_on() -> None:
        with (tmp_path / "log").open("ab", 0) as file:
            for _ in read_chunks(found):
                file.write(b"y" * 10)

    with pytest.raises(ChangedWhileRead, match="'log' changed"):
        read_on()


def test_a_link_that_took_the_place_of_a_file_is_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"tree/a": b"1", "secret": b"s"})
    (found,) = scan(tmp_path / "tree").files
    (tmp_path / "tree/a").unlink()
    (tmp_path / "tree/a").symlink_to("../secret")
    with pytest.raises(OSError, match="symbolic link"):
        read_small(found, 100)
