"""Two processes of the service on one PostgreSQL: one acts, both answer, either may be killed."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nablahub.core.state import StateDir
from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.drafting import Draft
from nablahub.datasets.manifest import Entry
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.runners.process.shutdown import end_all
from nablahub.jobs.types import Job, JobSpec
from nablahub.projects.api import ProjectsAPI
from nablahub.service.leading import EXIT_LOST
from tests.postgresql.two import Replica, Replicas
from tests.support.service import FakeHubServer
from tests.support.waiting import until
from tests.unit.datasets.builders import entry
from tests.unit.jobs.conftest import environments  # noqa: F401

#: Writes a line where each run of it can be counted, and waits for leave to end.
COUNTED = (
    "echo run >> /storage/runs-$NABLAHUB_JOB; echo begun; "
    "until test -e /storage/go-$NABLAHUB_JOB; do sleep 0.05; done; echo over"
)


TEXT = {"Content-Type": "text/plain"}


class Work:
    """Jobs of alice, by whichever replica."""

    def __init__(self, replicas: Replicas, first: Replica) -> None:
        self.replicas = replicas
        made = ProjectsAPI(first.transport()).create("shared")
        self.project, self.team = made.id, made.team_id

    @property
    def storage(self) -> Path:
        """What her jobs see as /storage."""
        return StateDir(self.replicas.root).storage / self.team

    def submit(self, replica: Replica) -> Job:
        """Submit a job that waits for :meth:`let_go`."""
        spec = {"project_id": self.project, "command": ["sh", "-c", COUNTED]}
        return JobsAPI(replica.transport()).submit(JobSpec.model_validate(spec))

    def let_go(self, job: Job) -> None:
        """Let a job end."""
        (self.storage / f"go-{job.id}").touch()

    def runs(self, job: Job) -> int:
        """How often a job's command was run."""
        return len((self.storage / f"runs-{job.id}").read_text().splitlines())


@pytest.fixture
def replicas(tmp_path: Path, environments: Path) -> Iterator[Replicas]:  # noqa: F811
    with FakeHubServer() as hub_url:
        made = Replicas(tmp_path / "state", hub_url, environments)
        yield made
        made.end()
        end_all(StateDir(made.root))


@pytest.fixture
def pair(replicas: Replicas) -> tuple[Replica, Replica]:
    """The leader and a follower."""
    leader = replicas.start()
    until(lambda: replicas.leader() == leader.address, "the first leads")
    return leader, replicas.start()


def hears(transport: Transport, wanted: Callable[[dict[str, Any]], bool]) -> None:
    """Wait until an event that is wanted comes, the old ones first."""
    stream = transport.events(last_id="0")
    try:
        assert any(wanted(event.data) for event in stream)
    finally:
        stream.close()


def test_a_killed_leader_is_followed_and_its_run_neither_lost_nor_doubled(
    replicas: Replicas, pair: tuple[Replica, Replica]
) -> None:
    leader, other = pair
    work = Work(replicas, other)
    running, waiting = work.submit(other), JobsAPI(other.transport())
    hears(other.transport(), lambda e: (e["id"], e["data"].get("state")) == (running.id, "Running"))
    assert waiting.get(running.id).state == "Running"

    assert leader.end(signal.SIGKILL) == -signal.SIGKILL
    late = work.submit(other)  # while nobody leads
    until(lambda: replicas.leader() == other.address, "the other leads")
    work.let_go(running)
    work.let_go(late)
    for job in (running, late):
        ended = waiting.wait(job.id)
        assert (ended.state, ended.exit_code) == ("Succeeded", 0)
        assert waiting.log(job.id) == "begun\nover\n"
        assert work.runs(job) == 1


def test_whoever_does_not_lead_answers_all_the_same(
    replicas: Replicas, pair: tuple[Replica, Replica]
) -> None:
    leader, other = pair
    work = Work(replicas, leader)
    mine = JobsAPI(other.transport())
    cancelled = work.submit(other)
    hears(
        other.transport(), lambda e: (e["id"], e["data"].get("state")) == (cancelled.id, "Running")
    )
    assert mine.cancel(cancelled.id).id == cancelled.id
    assert mine.wait(cancelled.id).state == "Canceled"
    job = work.submit(other)
    follower = mine.follow(job.id)
    assert next(follower) == "begun\n"
    work.let_go(job)
    assert "".join(follower) == "over\n"
    mine.delete(job.id)
    hears(leader.transport(), lambda e: (e["id"], e["type"]) == (job.id, "deleted"))
    until(
        lambda: not (StateDir(replicas.root).jobs / job.id).exists(), "its folder is removed"
    )  # fmt: skip
    assert replicas.leader() == leader.address


def test_a_leader_that_slept_through_its_lease_writes_no_more(
    replicas: Replicas, pair: tuple[Replica, Replica]
) -> None:
    leader, other = pair
    work = Work(replicas, other)
    job = work.submit(other)
    hears(other.transport(), lambda e: (e["id"], e["data"].get("state")) == (job.id, "Running"))
    leader.process.send_signal(signal.SIGSTOP)
    until(lambda: replicas.leader() == other.address, "the other leads")
    work.let_go(job)
    leader.process.send_signal(signal.SIGCONT)
    assert leader.process.wait(30) == EXIT_LOST
    ended = JobsAPI(other.transport()).wait(job.id)
    assert (ended.state, work.runs(job)) == ("Succeeded", 1)


def test_a_leader_that_ends_gives_way_at_once(
    replicas: Replicas, pair: tuple[Replica, Replica]
) -> None:
    leader, other = pair
    assert leader.end() == 0
    with replicas.connect() as connection:
        row = connection.execute("SELECT address, until FROM leader").fetchone()
    assert row is not None
    assert row[0] == other.address or row[1] == 0.0
    until(lambda: replicas.leader() == other.address, "the other leads")


def test_a_commit_waits_for_the_next_leader(
    replicas: Replicas, pair: tuple[Replica, Replica]
) -> None:
    leader, other = pair
    api = DatasetsAPI(other.transport())
    draft = api.draft(api.create("while nobody leads").id)
    draft.put("a", b"of the draft")
    assert leader.end(signal.SIGKILL) == -signal.SIGKILL
    with replicas.connect() as connection:
        connection.execute("UPDATE leader SET until = 0")  # As ten seconds later.
    with other.patient() as hub:
        version = draft.id.partition(":")[2]
        known = {"id": draft.id, "version": version, "base": draft.base}
        made = Draft(hub, f"/datasets/{draft.id.partition(':')[0]}", known).commit()
    assert api.read(made.id, "a") == b"of the draft"


def test_what_both_are_asked_to_commit_is_one_version(pair: tuple[Replica, Replica]) -> None:
    hubs = [replica.transport() for replica in pair]
    leader, follower = map(DatasetsAPI, hubs)
    dataset = leader.create("asked of both").id
    content: dict[str, bytes] = {}
    with ThreadPoolExecutor(3) as pool:
        for number in range(5):
            draft = follower.draft(dataset)
            draft.put(f"draft-{number}", data := b"of the draft %d" % number)
            # By the other process, and with another's version coming between.
            known = {"id": draft.id, "version": draft.id.partition(":")[2], "base": draft.base}
            again = Draft(hubs[0], f"/datasets/{dataset}", known)
            between = pool.submit(leader.write, dataset, f"other-{number}", data)
            made = [pool.submit(draft.commit), pool.submit(again.commit)]
            between.result()
            assert made[0].result().id == made[1].result().id == draft.id
            content |= {f"draft-{number}": data, f"other-{number}": data}
            assert not leader.verify(draft.id).damaged
        assert {path: follower.read(f"{dataset}:latest", path) for path in content} == content
        for path, data in content.items():
            begun = hubs[1].post(f"/datasets/{dataset}/uploads", {})
            where = f"/datasets/{begun['id'].replace(':', '/uploads/')}/commit"
            # Not even of the same files: one of them is made, and read by both.
            answers = [
                pool.submit(_commit, hub, where, entry(name, data))
                for hub, name in zip(hubs, (path, f"also-{path}"), strict=True)
            ]
            assert [answer.result()["id"] for answer in answers] == [begun["id"]] * 2
            assert not leader.verify(begun["id"]).damaged
            assert [file.path for file in follower.files(begun["id"])] in ([path], [f"also-{path}"])


def _commit(hub: Transport, where: str, file: Entry) -> Any:
    return hub.request("POST", where, content=file.line().encode(), headers=TEXT)
