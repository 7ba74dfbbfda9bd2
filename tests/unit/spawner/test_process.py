"""A server's process, known by more than its pid."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace

import psutil

from nablahub_spawner import process
from nablahub_spawner.limits import pick_cpus

TREE = (
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
)


def keeper(*command: str, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*process.KEEPER, *command], start_new_session=True, env={**os.environ, **env}
    )


async def until(condition: object) -> None:
    assert callable(condition)
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def ended(one: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return bool(one.status() == psutil.STATUS_ZOMBIE)
    return True


async def test_stopping_ends_the_whole_tree() -> None:
    started = keeper(sys.executable, "-c", TREE)
    await until(lambda: len(process.descendants(started.pid)) == 2)
    below = process.descendants(started.pid)
    identity = process.Identity.of(started.pid)
    assert identity is not None
    await process.stop(identity, patience=0.3)
    started.wait(5)
    assert not identity.alive()
    assert all(map(ended, below))


async def test_an_identity_survives_being_saved() -> None:
    started = keeper("sleep", "60")
    identity = process.Identity.of(started.pid)
    assert identity is not None
    again = process.Identity.load(identity.save())
    assert again == identity
    assert again.alive()
    assert not replace(identity, started=identity.started - 1).alive()  # another with its pid
    assert not replace(identity, boot="of last week").alive()
    started.kill()
    started.wait()
    assert not again.alive()
    assert process.Identity.load({"pid": 1}) is None


async def test_a_keeper_is_found_by_its_mark() -> None:
    mark = f"session:{os.getpid()}/"
    started = keeper("sleep", "60", **{process.MARK: mark})
    try:
        # What it starts carries the mark too until it has become another program.
        await until(lambda: process.marked(mark) == [started.pid])
        assert process.marked("session:other/") == []
    finally:
        started.kill()
        started.wait()


def test_processors_are_a_subset_of_ours() -> None:
    usable = os.sched_getaffinity(0)
    assert pick_cpus(1) <= usable
    assert len(pick_cpus(1)) == 1
    assert pick_cpus(10_000) == usable
