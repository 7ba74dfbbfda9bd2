"""Keys that servers on other machines follow."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from nablahub.jobs import live_keys
from nablahub.jobs.live_keys import LiveKeys


def write(root: Path, *names: str) -> dict[str, object]:
    content: dict[str, object] = {"keys": [{"id": name} for name in names]}
    (root / "d1").mkdir(exist_ok=True)
    (root / "d1" / "keys.json").write_text(json.dumps(content))
    return content


async def test_who_knows_nothing_is_told_at_once(tmp_path: Path) -> None:
    assert (await LiveKeys(tmp_path).wait("d1", ""))[1] == {"keys": []}
    content = write(tmp_path, "a")
    assert (await LiveKeys(tmp_path).wait("d1", ""))[1] == content


async def test_who_knows_all_is_told_of_the_next_change(tmp_path: Path) -> None:
    write(tmp_path, "a")
    live = LiveKeys(tmp_path)
    known, _ = await live.wait("d1", "")
    waiting = [asyncio.create_task(live.wait("d1", known)) for _ in range(3)]
    await asyncio.sleep(0)
    live.changed("d1")  # Nothing is other than before, so nobody is told anything.
    await asyncio.wait(waiting, timeout=0.05)
    assert not any(task.done() for task in waiting)
    content = write(tmp_path, "b")
    live.changed("d1")
    assert [found[1] for found in await asyncio.gather(*waiting)] == [content] * 3


async def test_nobody_waits_longer_than_the_patience(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(live_keys, "PATIENCE_SECONDS", 0.01)
    live = LiveKeys(tmp_path)
    known, _ = await live.wait("d1", "")
    assert (await live.wait("d1", known))[0] == known


async def test_nobody_waits_for_a_service_that_ends(tmp_path: Path) -> None:
    live = LiveKeys(tmp_path)
    known, _ = await live.wait("d1", "")
    waiting = asyncio.create_task(live.wait("d1", known))
    await asyncio.sleep(0)
    live.close()
    assert (await waiting)[0] == known
