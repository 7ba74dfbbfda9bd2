"""Hashing and writing in processes does what it does in this one."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub.datasets.errors import ChangedWhileRead
from nablahub.datasets.hashing import Small
from nablahub.datasets.manifest import Parser
from nablahub.datasets.workers import FEW, Workers

NAMES = ["a", "sub/b", "ünï", "x" * 255, "empty", "same"]
BODIES = [b"1", b"22" * 3000, "日本".encode(), b"long name", b"", b"1"]


@pytest.fixture(params=[1, FEW + 1], ids=["here", "processes"])
def workers(request: pytest.FixtureRequest) -> Iterator[Workers]:
    with Workers(request.param) as found:
        assert bool(found.count) is (request.param > FEW)
        yield found


@pytest.fixture
def files(tmp_path: Path) -> list[Small]:
    found: list[Small] = []
    for name, body in zip(NAMES, BODIES, strict=True):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(body)
        found.append(Small(name, str(path), len(body), "f"))
    return sorted(found)


def test_files_are_hashed_and_packed(workers: Workers, files: list[Small]) -> None:
    hashed = workers.hash(files)
    entries = list(Parser().feed(hashed.lines))
    bodies = dict(zip(NAMES, BODIES, strict=True))
    assert [e.path for e in entries] == [f.path for f in files]
    for number, entry in enumerate(entries):
        md5, sha256 = hashlib.md5(bodies[entry.path]), hashlib.sha256(bodies[entry.path])
        assert (entry.md5, entry.sha256) == (md5.hexdigest(), sha256.hexdigest())
        at = 48 * number
        assert hashed.digests[at : at + 48] == md5.digest() + sha256.digest()
    assert len(hashed.table) == 56 * len(set(BODIES))
    assert len(hashed.data) == sum(map(len, set(BODIES)))


def test_a_file_that_grew_or_went_is_named(workers: Workers, files: list[Small]) -> None:
    for wrong in (files[0]._replace(size=0), files[-1]._replace(size=10**6)):
        with pytest.raises(ChangedWhileRead, match="changed while"):
            workers.hash([*files, wrong])
    Path(files[0].file).unlink()
    with pytest.raises(FileNotFoundError):
        workers.hash(files)
    assert workers.hash(files[1:]).lines  # It goes on after a failure.


def test_a_link_in_a_files_place_is_not_followed(workers: Workers, files: list[Small]) -> None:
    Path(files[0].file).unlink()
    Path(files[0].file).symlink_to("/etc/hostname")
    with pytest.raises(OSError, match="symbolic links"):
        workers.hash(files[:1])


def test_slices_are_written_and_proved(workers: Workers, tmp_path: Path) -> None:
    data = os.urandom(10_000)

    def row(
        start: int, size: int, name: str, digest: bytes = b""
    ) -> tuple[int, int, bytes, int, str]:
        sha256 = digest or hashlib.sha256(data[start : start + size]).digest()
        return start, size, sha256, 0o755 if name == "run" else 0o644, str(tmp_path / name)

    rows = [
        row(0, 10, "one"), row(0, 10, "the same"), row(10, 0, "empty"), row(10, 5000, "run"),
        row(20, 30, "wrong", b"0" * 32), row(9990, 20, "too long"),
    ]  # fmt: skip
    wrong = workers.write(rows, data)
    assert {Path(path).name for path in wrong} == {"wrong", "too long"}
    assert (tmp_path / "one").read_bytes() == (tmp_path / "the same").read_bytes() == data[:10]
    assert (tmp_path / "empty").read_bytes() == b""
    assert (tmp_path / "run").read_bytes() == data[10:5010]
    assert (tmp_path / "run").stat().st_mode & 0o100
    assert not (tmp_path / "wrong").exists()
