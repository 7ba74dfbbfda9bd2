"""Environments that are built while ``up`` runs, told where it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from nablahub.core.environments import TAKES, Environments, packages


async def tell_builds(
    environments: Environments, say: Callable[[str], None], *, seconds: float = 1.0
) -> None:
    """Say which environments are being built, and when they are ready; runs until cancelled.

    The service builds them, when a job needs one; only the disk knows of it here.

    Parameters
    ----------
    say : callable
        Gets whole sentences.
    seconds : float
        Between two looks.
    """
    known: set[str] = set()
    while True:
        found = set(await asyncio.to_thread(environments.building))
        for name in sorted(found - known):
            count = len(packages(name))
            say(f"A job needs the environment {name}: building it, once, for {TAKES} "
                f"({count} packages) …")  # fmt: skip
        for name in sorted(known - found):
            if environments.find(name) is not None:
                say(f"The environment {name} is ready.")
            else:
                say(f"The environment {name} could not be built; the job says why.")
        known = found
        await asyncio.sleep(seconds)
