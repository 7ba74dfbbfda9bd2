"""What a command leaves goes out of its pod to the real service, whatever it is."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from nablahub.jobs.runners.kubernetes.inside import leaving
from nablahub.jobs.runners.kubernetes.inside.leaving import Artifacts, Outputs, Unkept
from nablahub.jobs.runners.kubernetes.inside.sending import Refused, Service
from nablahub.jobs.runners.receiving import Receiving
from nablahub.jobs.runners.remove import remove_tree
from tests.unit.jobs.pods import JOB, Pod

SECRET = "a token that the command never sees"


@pytest.fixture
def left(pod: Pod, tmp_path: Path) -> Any:
    """An empty folder that a command writes to; things in it may be nested very deep."""
    pod.mount()
    made = tmp_path / "left"
    made.mkdir()
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "x").write_text(SECRET)
    yield made
    remove_tree(made)


def send(pod: Pod, part: str, what: leaving.Left) -> None:
    with closing(Service.of(pod.task, 0)) as service:
        service.tree(part, what)


def arrived(pod: Pod, part: str) -> dict[str, bytes]:
    root = pod.service.state.jobs / JOB / part
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        # By a short name: that of a socket has at most 108 bytes.
        folder = os.open(path.parent, os.O_PATH)
        made.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)


def deep(path: Path) -> None:
    """Make a file whose path is longer than any may be."""
    folder = os.open(path, os.O_PATH)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=folder)
        inner = os.open("d" * 200, os.O_PATH, dir_fd=folder)
        os.close(folder)
        folder = inner
    os.close(os.open("f", os.O_CREAT | os.O_WRONLY, dir_fd=folder))
    os.close(folder)


def out(path: Path) -> None:
    path.symlink_to("/etc/passwd")


WRONG: dict[str, tuple[Callable[[Path], Any], str]] = {
    "socket": (bind, "a socket"),
    "pipe": (os.mkfifo, "a named pipe"),
    "link": (out, "a link"),
}


def test_what_cannot_be_sent_is_named_and_the_rest_arrives(pod: Pod, left: Path) -> None:
    for name, (make, _) in WRONG.items():
        make(left / name)
    deep(left)
    for name in ("ok", "closed"):
        (left / name).write_text(name)
    (left / "shut").mkdir()
    (left / "shut" / "in").write_text("in")
    (left / "closed").chmod(0)
    (left / "shut").chmod(0)
    what = Artifacts(left)
    send(pod, "artifacts", what)
    assert arrived(pod, "artifacts") == {"ok": b"ok", "closed": b"closed", "shut/in": b"in"}
    for name, (_, why) in WRONG.items():
        assert f"{name} ({why})" in what.words
    assert "ddd… (too deep: its path is too long)" in what.words


def test_only_some_are_named(pod: Pod, left: Path) -> None:
    for number in range(20):
        os.mkfifo(left / f"p{number:02}")
    what = Artifacts(left)
    send(pod, "artifacts", what)
    assert what.words == (
        "Of what it left in /artifacts was not kept: p00 (a named pipe), p01 (a named pipe), "
        "p02 (a named pipe), p03 (a named pipe), p04 (a named pipe), 15 more."
    )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (bind, "'/outputs/o/x' can't be kept: it is a socket"),
        (os.mkfifo, "'/outputs/o/x' can't be kept: it is a named pipe"),
        (out, "it is a link to an absolute path"),
        (lambda path: path.symlink_to("../../secret/x"), "it is a link that leads out"),
        (lambda path: path.symlink_to("nowhere"), "it is a link that leads nowhere"),
        (lambda path: path.symlink_to("x"), "it is a link that leads nowhere"),
        (lambda path: path.symlink_to("sub"), "it is a link to a folder"),
        (lambda path: deep(path.parent), "it is too deep: its path is too long"),
    ],
)
def test_a_dataset_is_whole_or_not_there(pod: Pod, left: Path, make: Any, words: str) -> None:
    (left / "o" / "sub").mkdir(parents=True)
    (left / "o" / "ok").write_text("ok")
    make(left / "o" / "x")
    with pytest.raises(Unkept, match=words):
        send(pod, "outputs", Outputs(left, ["o"]))
    assert arrived(pod, "outputs") == {}


def test_outputs_are_kept_as_on_one_machine(pod: Pod, left: Path) -> None:
    for name in ("o/sub", "of nobody"):
        (left / name).mkdir(parents=True)
    bind(left / "of nobody" / "socket")
    out(left / "no file")
    (left / "word").write_text("said")
    (left / "o" / "sub" / "file").write_text("here")
    (left / "o" / "sub").chmod(0)
    (left / "o" / "link").symlink_to("sub/../again")
    (left / "o" / "again").symlink_to("./sub/file")
    send(pod, "outputs", Outputs(left, ["o"]))
    assert arrived(pod, "outputs") == {
        "word": b"said", "o/sub/file": b"here", "o/link": b"here", "o/again": b"here"
    }  # fmt: skip


@pytest.mark.parametrize("swapped", ["d", "d/x"])
def test_what_is_swapped_for_a_link_meanwhile_leads_nowhere(
    pod: Pod, left: Path, monkeypatch: pytest.MonkeyPatch, swapped: str
) -> None:
    (left / "d").mkdir()
    (left / "d" / "x").write_text("its own")
    (left / "z").write_text("more")
    lstat = os.lstat

    def swap(name: Any, **more: Any) -> os.stat_result:
        status = lstat(name, **more)
        path, to = left / swapped, left.parent / "secret" / swapped.partition("/")[2]
        if str(name).endswith("x") and not path.is_symlink():
            path.rename(left.parent / "gone")
            path.symlink_to(to)
        return status

    monkeypatch.setattr(os, "lstat", swap)
    send(pod, "artifacts", Artifacts(left))
    assert SECRET.encode() not in arrived(pod, "artifacts").values()
    assert arrived(pod, "artifacts")["z"] == b"more"


def test_a_file_that_cannot_be_read_costs_no_other(
    pod: Pod, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "bad", "z"):
        (left / name).write_text(name)
    bad, read = (left / "bad").stat().st_ino, os.read

    def failing(file: int, size: int) -> bytes:
        if os.fstat(file).st_ino == bad:
            raise OSError(5, "Input/output error")
        return read(file, size)

    monkeypatch.setattr(os, "read", failing)
    what = Artifacts(left)
    send(pod, "artifacts", what)
    assert arrived(pod, "artifacts") == {"a": b"a", "z": b"z"}
    assert "bad (unreadable: Input/output error)" in what.words


def test_a_service_that_fails_on_it_is_not_asked_for_ever(
    pod: Pod, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(pod.receiving, "tree", fail)
    with pytest.raises(Refused, match="The service failed on this request"):
        send(pod, "artifacts", Artifacts(left))


def test_more_than_the_disk_has_is_refused_in_words(
    pod: Pod, left: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = shutil.disk_usage(pod.service.state.jobs).free
    small = Receiving(pod.service.state.jobs, reserve=free - (64 << 20))
    monkeypatch.setattr(pod.receiving, "tree", small.tree)
    with (left / "sparse").open("wb") as file:
        file.truncate(8 << 30)
    with pytest.raises(Refused, match=r"has .* left for data, and 8.0 GiB are to be stored"):
        send(pod, "artifacts", Artifacts(left))
    assert not list((pod.service.state.jobs / JOB).glob(".artifacts*"))
