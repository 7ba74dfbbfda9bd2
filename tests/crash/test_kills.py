"""Kill -9 of service, hub and Traefik, and of what is above them: the work is done once.

Moments are drawn from a seed and the case's name; ``NABLAHUB_CRASH_SEED`` gives another seed, or
that of a failure again. One file: its tests share a stand, which takes a minute to be made.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest

from tests.crash import checks, processes
from tests.crash.harness import PARTS, Hit, Stand, kill
from tests.crash.strikes import Strike, seed
from tests.crash.work import PHASES, Work
from tests.support.waiting import until

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
#: Whoever reads it knows what happened, without knowing how this is built.
LOST = "The process that ran it was killed, and what it was doing ended with it."
#: Seconds from a job's mark that it was started to its first line, and a little more.
BIRTH = 0.03


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


@contextmanager
def started_run(stand: Stand, title: str) -> Iterator[tuple[Work, str]]:
    """Give a piece of work whose run is started, and the id of its job."""
    stand.revive()
    work = stand.work(title)
    with stand.doing(work):
        work.prepare()
        work.commit()
        work.start()
        jobs = work.client.jobs
        found = until(lambda: list(jobs.list(project=work.project.id)), "there is a job")
        yield work, found[0].id


def is_lost(stand: Stand, work: Work, job_id: str) -> None:
    """Fail unless the run has ended as lost, in words, and nothing of it is or was doubled."""
    work.finish()
    job = work.client.jobs.get(job_id)
    assert (job.state, job.reason, job.message) == ("Error", "lost", LOST)
    assert (work.run.state, work.run.reason) == ("Error", "lost")
    assert work.run.message == f"Job 'make' could not be run: {LOST}"
    assert [(j.state, j.reason) for j in work.run.jobs] == [("Error", "lost"), ("Skipped", "")]
    checks.nothing_left_of(stand, job)
    started_nothing_more(work, job_id)


def started_nothing_more(work: Work, job_id: str) -> None:
    """Fail if the job was started another time, or anything came of it."""
    project = work.project.id
    assert [run.state for run in work.client.workflows.runs(work.workflow.id)] == ["Error"]
    assert [job.id for job in work.client.jobs.list(project=project)] == [job_id]
    assert work.lines() in ([], [job_id])
    made = work.client.datasets.get(f"{work.name}-made")
    assert made.latest_version is None
    assert list(work.client.models.list(project=project)) == []


def test_a_job_whose_parent_is_killed_is_lost_and_not_started_again(stand: Stand) -> None:
    with started_run(stand, "shim") as (work, job_id):
        work.until_it_runs()
        kill(processes.parent_of(stand.hub.state, job_id))
        is_lost(stand, work, job_id)
        stand.kill("service")()()  # Another life of the service does not take it up either.
        started_nothing_more(work, job_id)
        assert work.lines() == [job_id]
        assert processes.of_job(stand.hub.state, job_id) == []
        stand.live.check()


def test_a_parent_that_is_killed_while_the_service_is_away_is_lost_too(stand: Stand) -> None:
    with started_run(stand, "away") as (work, job_id):
        work.until_it_runs()
        back = stand.kill("service")()
        kill(processes.parent_of(stand.hub.state, job_id))
        back()
        is_lost(stand, work, job_id)
        assert work.lines() == [job_id]


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(8))
def test_a_parent_that_is_killed_while_its_job_is_born(stand: Stand, round_: int) -> None:
    with started_run(stand, "birth") as (work, job_id):
        parent = until(
            lambda: processes.parent_of(stand.hub.state, job_id), "it is started", pause=0.0005
        )
        time.sleep(Random(f"{seed()} birth {round_}").random() * BIRTH)
        kill(parent)
        is_lost(stand, work, job_id)


@pytest.mark.slow
def test_a_model_server_whose_parent_is_killed_is_replaced_by_exactly_one(stand: Stand) -> None:
    stand.revive()
    work = stand.work("served")
    with stand.doing(work):
        work.do()
        client, project = work.client, work.project.id
        (old,) = servers(work)
        kill(processes.parent_of(stand.hub.state, old))

        def replaced() -> bool:
            state = client.deployments.get(work.deployment.id).state
            return (state, len(servers(work))) == ("Running", 2)

        until(replaced, "another model server is started", pause=0.1)
        states = {job.id: job for job in client.jobs.list(project=project) if job.kind == "serve"}
        lost = states.pop(old)
        assert (lost.state, lost.reason, lost.message) == ("Error", "lost", LOST)
        assert [job.state for job in states.values()] == ["Running"]
        assert len(processes.servers_of(work.name)) == 1
        answer, right = work.predict(Random(seed()))
        assert answer == right
        checks.nothing_left(stand, work)
        checks.clear_away(stand, work)


def servers(work: Work) -> list[str]:
    """Return the jobs of model servers of a work, those that have ended too."""
    jobs = work.client.jobs.list(project=work.project.id)
    return [job.id for job in jobs if job.kind == "serve"]


def test_work_goes_on_without_its_launcher(stand: Stand) -> None:
    struck(stand, "starting", "launcher starting 0", stand.kill_launcher())


def test_the_next_up_goes_on_with_what_a_killed_one_left(stand: Stand) -> None:
    struck(stand, "output", "up output 0", stand.kill_up())


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize(
    "blow",
    [
        pytest.param(lambda stand: stand.kill_launcher(), id="launcher"),
        pytest.param(lambda stand: stand.kill(*PARTS), id="all-parts"),
        pytest.param(lambda stand: stand.kill_up(), id="up"),
        pytest.param(lambda stand: stand.kill_up(*PARTS), id="up-and-all-parts"),
        pytest.param(lambda stand: stand.freeze("service", 5), id="frozen-service"),
    ],
)
def test_worse_blows(
    stand: Stand, phase: str, blow: Callable[[Stand], Hit], request: pytest.FixtureRequest
) -> None:
    stand.revive()
    struck(stand, phase, f"{request.node.callspec.id} 1", blow(stand))


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(3))
def test_a_service_killed_again_and_again_ends_the_work_all_the_same(
    stand: Stand, round_: int
) -> None:
    """Each life of the service is so short that it sees a part of the work only."""
    chance = Random(f"{seed()} again {round_}")
    with started_run(stand, f"again-{round_}") as (work, job_id):
        for blow in range(4):
            if blow == 1:
                work.release()
            stand.kill("service")()
            until(lambda: len(stand.parts()) == len(PARTS), "the service is started", pause=0.002)
            time.sleep(chance.random() * 2)
        stand.until_back({})
        work.until_committed()
        work.finish()
        work.deploy()
        assert work.lines() == [job_id]
        checks.done_once(stand, work, chance)
        checks.clear_away(stand, work)
