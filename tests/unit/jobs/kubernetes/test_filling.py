"""A version is laid where many read it: once, and whole or not at all, whatever is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from nablahub.jobs.runners.kubernetes.inside.filling import FILLED, fill

WHERE = "team/ds1-abc"
SPAWN = multiprocessing.get_context("spawn")


def write(folder: Path) -> None:
    folder.mkdir()
    (folder / "a").write_text("whole")
    (folder / "b").write_text("whole")
    (folder / "b").chmod(0o400)
    folder.chmod(0o500)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_downloaded_once(tmp_path: Path) -> None:
    assert fill(tmp_path, WHERE, write) is True
    assert fill(tmp_path, WHERE, write) is False
    assert names(tmp_path / WHERE) == ["a", "b"]
    assert names(tmp_path / "team") == ["ds1-abc"]


def test_a_version_without_files_is_there_too(tmp_path: Path) -> None:
    assert fill(tmp_path, WHERE, lambda _: None) is True
    assert fill(tmp_path, WHERE, lambda _: None) is False
    assert names(tmp_path / WHERE) == []


def test_what_failed_leaves_nothing_and_is_tried_again(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise OSError(28, "No space left on device")

    for _ in range(2):
        with pytest.raises(OSError, match="No space"):
            fill(tmp_path, WHERE, fail)
        assert names(tmp_path / "team") == []
    assert fill(tmp_path, WHERE, write) is True


def test_a_folder_made_in_its_place_is_not_taken_for_it(tmp_path: Path) -> None:
    # A kubelet makes an empty folder where it is to mount one that somebody has deleted.
    (tmp_path / WHERE).mkdir(parents=True)
    assert fill(tmp_path, WHERE, write) is True
    (tmp_path / WHERE).rename(tmp_path / "deleted")
    (tmp_path / WHERE).mkdir()
    assert fill(tmp_path, WHERE, write) is True
    assert (tmp_path / WHERE / "b").read_text() == "whole"


def half(root: Path, begun: Event) -> None:
    """Begin to fill, and get no further."""

    def download(folder: Path) -> None:
        folder.mkdir()
        (folder / "a").write_text("half")
        begun.set()
        signal.pause()

    fill(root, WHERE, download)


def counted(root: Path, started: Event) -> None:
    """Fill, and leave a file for each download."""

    def download(folder: Path) -> None:
        (root / f"download-{os.getpid()}").touch()
        write(folder)

    started.set()
    fill(root, WHERE, download)


def test_who_comes_while_it_is_filled_waits_and_takes_over_when_that_is_killed(
    tmp_path: Path,
) -> None:
    begun = SPAWN.Event()
    first = SPAWN.Process(target=half, args=(tmp_path, begun))
    first.start()
    begun.wait()
    starts = [SPAWN.Event() for _ in range(3)]
    others = [SPAWN.Process(target=counted, args=(tmp_path, start)) for start in starts]
    for other in others:
        other.start()
    for start in starts:
        start.wait()
    assert not (tmp_path / WHERE).exists()
    os.kill(first.pid or 0, signal.SIGKILL)
    for process in (first, *others):
        process.join()
    assert [other.exitcode for other in others] == [0, 0, 0]
    assert (tmp_path / WHERE / "a").read_text() == "whole"
    assert len(list(tmp_path.glob("download-*"))) == 1
    assert names(tmp_path / "team") == ["ds1-abc"]
    assert (tmp_path / FILLED / WHERE).exists()
