"""The loop: nobody twice at once, nobody lost, a bad one holds up nobody."""

from __future__ import annotations

import asyncio

import pytest

from nablahub.core.reconcile import Reconciler


async def test_one_item_is_never_in_two_steps_and_no_wake_is_lost() -> None:
    reconciler = Reconciler()
    inside, runs = 0, 0
    entered, release = asyncio.Event(), asyncio.Event()
    second = asyncio.Event()

    async def step(_: str) -> None:
        nonlocal inside, runs
        inside += 1
        assert inside == 1
        runs += 1
        entered.set()
        await release.wait()
        inside -= 1
        if runs == 2:
            second.set()

    reconciler.register("thing", step)
    reconciler.wake_now("thing", "a")
    await entered.wait()
    for _ in range(5):
        reconciler.wake_now("thing", "a")
    release.set()
    await second.wait()
    await reconciler.close()
    assert runs == 2


async def test_a_step_that_raises_is_tried_again_and_others_go_on() -> None:
    reconciler = Reconciler()
    tries: list[str] = []
    done = asyncio.Event()

    async def step(item: str) -> None:
        tries.append(item)
        if item == "bad" and tries.count("bad") < 3:
            raise RuntimeError("planted")
        if tries.count("bad") == 3:
            done.set()

    reconciler.register("thing", step)
    reconciler.wake_now("thing", "bad")
    reconciler.wake_now("thing", "good")
    await done.wait()
    await reconciler.close()
    assert tries.count("good") == 1


async def test_a_step_may_ask_to_be_run_again_and_a_wake_comes_before() -> None:
    reconciler = Reconciler()
    runs = asyncio.Queue[int]()
    count = 0

    async def step(_: str) -> float | None:
        nonlocal count
        count += 1
        runs.put_nowait(count)
        return {1: 0.01, 2: 3600.0}.get(count)

    reconciler.register("thing", step)
    reconciler.wake_now("thing", "a")
    assert [await runs.get(), await runs.get()] == [1, 2]
    await asyncio.sleep(0)
    reconciler.wake_now("thing", "a")
    assert await runs.get() == 3
    await reconciler.close()


async def test_two_slices_cannot_look_after_one_kind() -> None:
    reconciler = Reconciler()

    async def step(_: str) -> None:
        return None

    reconciler.register("thing", step)
    with pytest.raises(ValueError, match="two slices"):
        reconciler.register("thing", step)


async def test_news_of_one_does_not_wait_behind_all_that_are_to_be_started() -> None:
    reconciler = Reconciler(workers=4)
    release, told = asyncio.Event(), asyncio.Event()
    looked: list[str] = []

    async def step(item: str) -> None:
        looked.append(item)
        if item == "ended":
            told.set()
        else:
            await release.wait()

    reconciler.register("job", step)
    for number in range(20):
        reconciler.wake_now("job", f"new {number}")
    reconciler.wake_now("job", "ended", news=True)
    await told.wait()
    assert len(looked) == 5
    reconciler.wake_now("job", looked[0], news=True)  # It is in its step: once more after it.
    release.set()
    while reconciler.waiting or looked.count(looked[0]) < 2:
        await asyncio.sleep(0)
    await reconciler.close()
    assert len(looked) == 22
