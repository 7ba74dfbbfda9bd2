"""Environments by name: built whole or not at all, from a lock, once."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nablahub.core import environments
from nablahub.core.environments import (
    EnvironmentBuildFailed,
    Environments,
    UnknownEnvironment,
    folder_name,
    has_kernel,
    main,
    names,
    packages,
    resolve,
)
from nablahub.jobs.submission import check_environment


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Locks without packages, so that building needs no network."""
    folder = tmp_path / "locks"
    folder.mkdir()
    for name in environments.TABLE:
        (folder / f"{name}.txt").write_text("# nothing\n")
    monkeypatch.setattr(environments, "LOCKS", folder)
    return folder


def test_names_and_images_are_resolved_without_building() -> None:
    assert resolve("default") == resolve("bash:5") == resolve("python:3.12") == "default"
    assert resolve("tensorflow/tensorflow:2.9.1") is None
    assert resolve("runner") is None  # A tool of ours; jobs do not name it.
    assert {"default", "serving", "bash:5"} <= set(names())
    assert has_kernel("default")
    assert not has_kernel("serving")
    assert {"numpy", "scikit-learn", "skl2onnx", "httpx"} <= set(packages("default"))


def test_an_unknown_one_says_which_there_are() -> None:
    error = UnknownEnvironment("pytorch")
    assert "pytorch" in error.detail
    assert "default" in error.errors[0].hint


def test_on_a_cluster_it_is_told_where_images_are_named() -> None:
    with pytest.raises(UnknownEnvironment) as caught:
        check_environment("registry.example.org/nope:1", frozenset({"default", "runner", "torch"}))
    assert caught.value.errors[0].hint == (
        "Known: default, torch. An administrator gives further images a name: "
        'c.NablaHub.kubernetes["images"], in the chart jobs.images.'
    )


def test_every_package_of_every_lock_is_pinned_by_hash() -> None:
    for name in environments.TABLE:
        text = (environments.LOCKS / f"{name}.txt").read_text()
        assert text.count("==") <= text.count("--hash=sha256:")
        assert packages(name)


def test_built_once_and_found_again(locks: Path, tmp_path: Path) -> None:
    made = Environments(tmp_path / "a folder")
    assert made.find("default") is None
    said: list[tuple[int, int]] = []
    seen: list[list[str]] = []

    def told(text: str, done: int, total: int) -> None:
        said.append((done, total))
        seen.append(made.building())

    built = made.ensure("default", told)
    assert seen == [["default"]] * 4
    assert made.building() == []
    assert said == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert made.find("default") == built
    out = subprocess.run(
        [built.python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True
    )
    assert out.stdout.strip() == str(built.prefix)
    made.ensure("default", lambda *_: pytest.fail("it was built again"))


def test_it_works_at_another_path(locks: Path, tmp_path: Path) -> None:
    built = Environments(tmp_path / "one").ensure("default")
    moved = tmp_path / "somewhere else"
    built.prefix.rename(moved)
    out = subprocess.run(
        [moved / "bin" / "python", "-c", "import sys; print(sys.prefix)"],
        capture_output=True,
        text=True,
    )
    assert out.stdout.strip() == str(moved)


def test_a_changed_lock_is_another_environment(locks: Path, tmp_path: Path) -> None:
    before = folder_name("default")
    (locks / "default.txt").write_text("# something else\n")
    assert folder_name("default") != before


def test_what_a_killed_build_left_does_not_count(locks: Path, tmp_path: Path) -> None:
    made = Environments(tmp_path)
    name = folder_name("default")
    for leftover in (tmp_path / f".building-{name}", tmp_path / name):
        (leftover / "bin").mkdir(parents=True)
        (leftover / "bin" / "python").write_text("half")
    assert made.find("default") is None
    assert made.ensure("default").prefix == tmp_path / name
    assert [p.name for p in tmp_path.glob(".building-*")] == []


def test_two_at_once_build_one(locks: Path, tmp_path: Path) -> None:
    made = Environments(tmp_path)
    steps: list[int] = []
    threads = [
        threading.Thread(
            target=made.ensure, args=("default", lambda _, done, __: steps.append(done))
        )
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert steps == [0, 1, 2, 3]


def test_an_index_that_does_not_answer(
    locks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (locks / "default.txt").write_text("nonsuch==1.0 --hash=sha256:" + "0" * 64 + "\n")
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with pytest.raises(EnvironmentBuildFailed) as caught:
        Environments(tmp_path).ensure("default")
    assert "127.0.0.1:9" in caught.value.detail
    assert "UV_DEFAULT_INDEX" in caught.value.hint
    assert [path for path in tmp_path.glob("*default-*") if path.is_dir()] == []


def test_the_module_builds_by_hand(
    locks: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", str(tmp_path), "serving"]) == 0
    assert "serving is ready" in capsys.readouterr().err
    assert main(["nonsense"]) == 2
    assert Environments(tmp_path).find("serving") is not None


def test_the_base_is_not_our_own_environment() -> None:
    assert not environments._python().startswith(sys.prefix + "/") or sys.prefix == sys.base_prefix
