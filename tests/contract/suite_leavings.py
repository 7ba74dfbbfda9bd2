"""The contract of runners, its second half: what a task leaves, and what is left of it."""

from __future__ import annotations

import asyncio

import pytest

from nablahub.jobs.runners.contract import Mount, TaskRuns
from tests.contract.places import Place, Watcher
from tests.contract.suite import ONE, data, log, shell


async def test_a_running_task_is_not_forgotten(place: Place) -> None:
    task = shell("echo run; sleep 60")
    await place.runner.start(task)
    with pytest.raises(TaskRuns):
        await place.runner.forget(ONE)
    await place.runner.cancel(ONE, grace_seconds=0, message="enough")
    await Watcher(place).until_ended(task)


async def test_forgetting_leaves_nothing(place: Place) -> None:
    task = shell("mkdir -p d/e; echo 1 > d/e/f; chmod 000 d/e; chmod 500 d; ln -s / s")
    await place.runner.start(task)
    await Watcher(place).until_ended(task)
    await place.runner.forget(ONE)
    await place.runner.forget(ONE)
    assert (await place.runner.look(task)).phase == "absent"
    assert await place.runner.logs(ONE, 0, 100) == b""


async def test_what_it_left_is_found(place: Place) -> None:
    task = shell(
        "mkdir -p /outputs/result/deep /artifacts/plots; echo one > /outputs/result/deep/file; "
        "printf word > /outputs/word; echo two > /artifacts/plots/b; echo last words > "
        "$NABLAHUB_MESSAGE_FILE; head -c 3m /dev/zero > /outputs/result/big",
        mounts=(
            Mount(path="/outputs", kind="output", mode="rw"),
            Mount(path="/outputs/result", kind="output", ref="result", mode="rw"),
        ),
    )
    await place.runner.start(task)
    status = await Watcher(place).until_ended(task)
    assert (status.exit_code, status.last_words) == (0, "last words"), await log(place)
    assert (place.runner.output(ONE, "result") / "deep" / "file").read_text() == "one\n"
    assert (place.runner.output(ONE, "result") / "big").read_bytes() == bytes(3 << 20)
    assert place.runner.output(ONE, "word").read_text() == "word"
    assert (place.runner.artifacts(ONE) / "plots" / "b").read_text() == "two\n"
    await place.runner.tidy(ONE)
    assert await place.runner.untidy() == []
    assert await place.runner.names() == [ONE]
    assert (place.runner.artifacts(ONE) / "plots" / "b").read_text() == "two\n"


async def test_what_is_tidied_up_is_still_known(place: Place) -> None:
    task = shell("echo run; exit 5")
    await place.runner.start(task)
    before = await Watcher(place).until_ended(task)
    assert await place.runner.untidy() == [ONE]
    await place.runner.tidy(ONE)
    await place.restart()
    assert await place.runner.look(task) == before
    await place.runner.start(task)
    assert await log(place) == "run\n"
    assert before.last_words == "run"


async def test_artifacts_are_seen_while_it_runs(place: Place) -> None:
    task = shell(
        "echo so far > /artifacts/a; while [ ! -e /data/go ]; do sleep 0.02; done; "
        "echo at last > /artifacts/a",
        mounts=(data(),),
    )
    await place.runner.start(task)
    seen = place.runner.artifacts(ONE) / "a"
    while not seen.exists():  # Nobody tells of it.
        await asyncio.sleep(0.05)
    assert (await place.runner.look(task)).phase == "running"
    assert seen.read_text() == "so far\n"
    await place.put("v", "go")
    assert (await Watcher(place).until_ended(task)).exit_code == 0
    assert seen.read_text() == "at last\n"
