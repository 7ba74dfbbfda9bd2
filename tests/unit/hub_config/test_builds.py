"""What `up` says while the service builds an environment."""

from __future__ import annotations

import asyncio
import fcntl
import json
from pathlib import Path

from nablahub.core.environments import Environments, folder_name
from nablahub_hub.local.builds import tell_builds


async def test_a_build_by_another_process_is_told_with_its_end(tmp_path: Path) -> None:
    said: asyncio.Queue[str] = asyncio.Queue()
    telling = asyncio.create_task(
        tell_builds(Environments(tmp_path), said.put_nowait, seconds=0.01)
    )
    built = tmp_path / folder_name("default")
    for end in ("could not be built", "is ready"):
        with (tmp_path / f".{built.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            words = await said.get()
            assert "environment default" in words
            assert "about a minute" in words
            if end == "is ready":
                built.mkdir()
                (built / "nablahub-environment.json").write_text(json.dumps({}))
        assert end in await said.get()
    assert said.empty()
    telling.cancel()
