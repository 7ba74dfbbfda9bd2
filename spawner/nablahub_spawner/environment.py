"""The Python environment of a server's default kernel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from nablahub.core.environments import Environments

NAME = "default"


async def default_environment(folder: Path, tell: Callable[[str], None]) -> Path:
    """Return the prefix of the ``default`` environment, built first when it is not there.

    Parameters
    ----------
    folder : pathlib.Path
        Where environments are kept.
    tell : callable
        Told in sentences what takes time.

    Raises
    ------
    nablahub.core.errors.NablaError
        When it cannot be built.
    """
    environments = Environments(folder)
    found = environments.find(NAME)
    if found is None:
        loop = asyncio.get_running_loop()

        def progress(sentence: str, done: int, total: int) -> None:
            loop.call_soon_threadsafe(tell, f"{sentence} ({done} of {total})")

        tell("Your notebooks' Python environment is built; the first time takes a minute")
        found = await asyncio.to_thread(environments.ensure, NAME, progress)
    return found.prefix
