"""Kill -9 of service and hub while servers and jobs are pods: each thing is done, once.

Moments are drawn from a seed and the case's name; ``NABLAHUB_CRASH_SEED`` gives another seed, or
that of a failure again.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nablahub.jobs.types import JobSpec
from tests.cluster.stands import PodStand, standing
from tests.cluster.target import Cluster
from tests.crash.strikes import Strike
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS
from tests.support.waiting import until

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
    with standing(cluster, more="c.NablaHub.allow_private_addresses = True\n") as made:
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
def test_a_killed_service_leaves_no_half_in_a_bucket(stand: PodStand, s3: SeaweedFS) -> None:
    hub, bucket = stand.client, s3.bucket()
    given = {f"raw/{n:02}": bytes([n]) * (1 << 20) for n in range(40)} | {
        "raw/big": bytes(40 << 20)
    }
    for key, content in given.items():
        s3.client().put_object(Bucket=bucket, Key=key, Body=content)
    hub.storage.create(
        "ours", bucket=bucket, access_key=KEY, secret_key=SECRET, endpoint=s3.endpoint,
        region=REGION,
    )  # fmt: skip
    raw = {"name": "raw", "kind": "bucket", "ref": "ours/raw", "read_only": False}
    spec = {
        "project_id": stand.project, "name": "bucket", "instance_type": "C3", "inputs": [raw],
        "command": ["sh", "-ec", "cd /inputs/raw; for f in *; do printf 2 >> $f; done; rm 00"],
    }  # fmt: skip
    job = hub.jobs.submit(JobSpec.model_validate(spec))

    def changed() -> bool:
        return b"2" in s3.client().get_object(Bucket=bucket, Key="raw/01")["Body"].read()[-1:]

    until(lambda: "Copying s3://" in hub.jobs.log(job.id), "it copies")
    stand.parts.kill("service")()()
    until(changed, "it writes back")
    stand.parts.kill("service")()()
    done = hub.jobs.wait(job.id)
    assert (done.state, done.message) == ("Succeeded", ""), hub.jobs.log(job.id)
    assert s3.keys(bucket) == given.keys() - {"raw/00"}
    for key in given.keys() - {"raw/00"}:
        found = s3.client().get_object(Bucket=bucket, Key=key)["Body"].read()
        assert found == given[key] + b"2", key
    assert s3.multiparts(bucket) == set()
    assert len(stand.eyes.seen[job.id]) == 1


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(1, ROUNDS + 1))
@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("phase", [*SERVER, *JOB])
def test_at_any_moment(stand: PodStand, phase: str, victim: str, round_: int) -> None:
    struck(stand, phase, victim, round_)
