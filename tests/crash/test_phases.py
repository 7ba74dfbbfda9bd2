"""Kill -9 of service, hub and Traefik at drawn moments of every phase: the work is done once.

Moments are drawn from a seed and the case's name; ``NABLAHUB_CRASH_SEED`` gives another seed, or
that of a failure again.
"""

from __future__ import annotations

import pytest

from tests.crash import checks
from tests.crash.harness import PARTS, Hit, Stand
from tests.crash.strikes import Strike
from tests.crash.work import PHASES

pytestmark = [pytest.mark.hub, pytest.mark.timeout(600)]

#: In the ordinary run: each phase, and each victim, at least once.
SOME = [
    ("commit", "service"),
    ("spawn", "hub"),
    ("starting", "service"),
    ("running", "traefik"),
    ("output", "service"),
    ("model", "hub"),
    ("rollout", "service"),
]
ROUNDS = 3


def struck(stand: Stand, phase: str, case: str, hit: Hit) -> None:
    """Do the work with a blow in one of its phases, and check what came of it."""
    stand.revive()
    strike = Strike(phase, case, stand.clock.seconds[phase], hit)
    print(strike)
    work = stand.work(
        case.replace(" ", "-"), spawns=phase == "spawn", phase=strike.within,
        replicas=2 if phase == "rollout" else 1,
    )  # fmt: skip
    with stand.doing(work, strike):
        work.do()
        assert strike.dealt
        if phase == "spawn":
            checks.spawned_once(stand)
        checks.done_once(stand, work, strike.chance)
        checks.clear_away(stand, work)


@pytest.mark.parametrize(("phase", "victim"), SOME)
def test_a_killed_part_changes_nothing_of_the_work(stand: Stand, phase: str, victim: str) -> None:
    struck(stand, phase, f"{phase} {victim} 0", stand.kill(victim))


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(1, ROUNDS + 1))
@pytest.mark.parametrize("victim", PARTS)
@pytest.mark.parametrize("phase", PHASES)
def test_at_any_moment(stand: Stand, phase: str, victim: str, round_: int) -> None:
    struck(stand, phase, f"{phase} {victim} {round_}", stand.kill(victim))
