"""Kill -9 of service and hub while servers and jobs are pods: each thing is done, once.

Moments are drawn from a seed and the case's name; ``NABLAHUB_CRASH_SEED`` gives another seed, or
that of a failure again.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.stands import PodStand, standing
from tests.cluster.target import Cluster
from tests.crash.strikes import Strike

pytestmark = pytest.mark.timeout(600)

SERVER = ("spawn", "stopping")
JOB = ("starting", "running", "output")
VICTIMS = ("service", "hub", "service+hub")
#: In the ordinary run: each phase, and each victim, at least once.
SOME = [
    ("spawn", "hub"),
    ("stopping", "service+hub"),
    ("starting", "service"),
    ("running", "hub"),
    ("output", "service"),
]
ROUNDS = 4


@pytest.fixture(scope="module")
def stand(cluster: Cluster) -> Iterator[PodStand]:
    with standing(cluster) as made:
        yield made


def struck(stand: PodStand, phase: str, victim: str, round_: int) -> None:
    """Do the work with a blow in one of its phases, and check what came of it."""
    hit = stand.parts.kill(*victim.split("+"))
    strike = Strike(phase, f"pods {phase} {victim} {round_}", stand.clock.seconds[phase], hit)
    print(strike)
    work = stand.work(f"{phase}-{round_}", strike.within)
    if phase in SERVER:
        work.server()
        assert strike.dealt
    else:
        work.run()
        assert strike.dealt
        stand.run_done_once(work)


@pytest.mark.parametrize(("phase", "victim"), SOME)
def test_a_killed_part_changes_nothing_of_the_work(
    stand: PodStand, phase: str, victim: str
) -> None:
    struck(stand, phase, victim, 0)


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(1, ROUNDS + 1))
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("phase", [*SERVER, *JOB])
def test_at_any_moment(stand: PodStand, phase: str, victim: str, round_: int) -> None:
    struck(stand, phase, victim, round_)
