"""The stand on which everything here happens."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from tests.crash import checks
from tests.crash.harness import Stand, standing


@pytest.fixture(scope="session")
def stand() -> Iterator[Stand]:
    """A hub with a live server, on which the work was done without any disturbance."""
    with standing() as made:
        made.revive()
        for first in (True, False):  # The first time is slower than all others.
            work = made.measure(spawns=first)
            if first:
                checks.spawned_once(made)
            checks.done_once(made, work, Random(0))
            checks.clear_away(made, work)
        yield made
        for work in made.cleared:
            checks.cleared_away(made, work)
