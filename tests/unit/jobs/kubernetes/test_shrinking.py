"""What nobody reads leaves the folder that pods share, when it takes too much."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nablahub.jobs.runners.kubernetes.inside import shrinking
from nablahub.jobs.runners.kubernetes.inside.filling import FILLED, NAMES, fill, lock, name
from nablahub.jobs.runners.kubernetes.inside.shrinking import GONE, shrink, taken, withdraw

PLACES = ["te1/ds1-a", "te2/ds2-b", "te1/ds1-c"]


def write(folder: Path) -> None:
    folder.mkdir()
    (folder / "file").write_bytes(b"x" * 40_000)
    (folder / "file").chmod(0o400)
    folder.chmod(0o500)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three versions, the first used longest ago."""
    for number, place in enumerate(PLACES):
        fill(tmp_path, place, write)
        team, _, own = place.partition("/")
        dataset, _, version = own.partition("-")
        name(tmp_path, team, (dataset, version), f"/opt/nablahub/cache/{place}")
        os.utime(tmp_path / FILLED / place, (1e9 + number, 1e9 + number))
    return tmp_path


def nobody(_: list[str]) -> set[str]:
    return set()


def there(root: Path) -> list[str]:
    return [place for place in PLACES if (root / place / "file").exists()]


def test_what_was_not_used_for_longest_goes_first(root: Path) -> None:
    whole = taken(root)
    assert whole >= 120_000
    assert shrink(root, whole, nobody) == []
    fill(root, PLACES[0], write)  # used again
    assert shrink(root, whole - 1, nobody) == [PLACES[1]]
    assert there(root) == [PLACES[0], PLACES[2]]
    assert not (root / NAMES / "te2/ds2").exists()
    assert (root / NAMES / "te1/ds1/a").is_symlink()
    assert taken(root) < whole
    assert fill(root, PLACES[1], write) is True


def test_nothing_that_is_read_goes(root: Path) -> None:
    assert shrink(root, 0, lambda places: {p for p in places if p == PLACES[0]}) == PLACES[1:]
    assert there(root) == PLACES[:1]


def test_what_is_read_just_then_comes_back(root: Path) -> None:
    asked: list[list[str]] = []

    def mounted_meanwhile(places: list[str]) -> set[str]:
        asked.append(places)
        return {PLACES[0]} if len(asked) > 2 and PLACES[0] in places else set()

    assert shrink(root, 0, mounted_meanwhile) == PLACES[1:]
    assert asked[:3] == [PLACES, PLACES[:1], PLACES[:1]]
    assert there(root) == PLACES[:1]
    assert fill(root, PLACES[0], write) is False


def test_what_somebody_fills_or_looks_at_is_left(root: Path) -> None:
    with lock(root / FILLED / f"{PLACES[0]}.lock") as locked:
        assert locked
        assert shrink(root, 0, nobody) == PLACES[1:]
    assert there(root) == PLACES[:1]


def test_who_is_killed_leaves_nothing_half(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(_: Path) -> None:
        raise SystemExit

    monkeypatch.setattr(shrinking, "remove", die)
    with pytest.raises(SystemExit):
        shrink(root, 0, nobody)
    monkeypatch.undo()
    assert there(root) == PLACES[1:]
    assert list((root / "te1").glob(f"{GONE}*"))
    assert shrink(root, 1 << 40, nobody) == []
    assert not list((root / "te1").glob(f"{GONE}*"))
    assert fill(root, PLACES[0], write) is True


def test_what_is_public_no_more_goes_who_reads_it_or_not(root: Path) -> None:
    for name_ in ("ds4-a", "ds5-a"):
        fill(root, f"public/{name_}", write)
    asked: list[list[str]] = []

    def gone(places: list[str]) -> list[str]:
        asked.append(places)
        return ["public/ds4-a"]

    assert withdraw(root, gone) == ["public/ds4-a"]
    assert sorted(asked[0]) == ["public/ds4-a", "public/ds5-a"]
    assert not (root / "public/ds4-a").exists()
    assert (root / "public/ds5-a/file").exists()
    assert there(root) == PLACES
