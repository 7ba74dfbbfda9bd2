"""Versions that many pods read from one claim, into which they are fetched once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub.core.extension import discover
from nablahub.datasets.packs import SMALL
from nablahub.jobs.runners.kubernetes.api import Api
from nablahub.jobs.runners.kubernetes.names import TASK, selector
from tests.cluster.lives import BELOW, Life
from tests.cluster.target import Cluster

#: Reads all of it, and tells the number of the folder: a copy has another one.
READ = (
    "cat /inputs/d/*/* | md5sum; stat -c %i /inputs/d; touch /inputs/d/x 2>&1 | grep -o Read-only"
)


@pytest.fixture
def life(tmp_path: Path, cluster: Cluster) -> Iterator[Life]:
    made = Life(tmp_path / "state", cluster, cache_claim="versions", cache_size="64Mi")
    yield made
    made.service.stop()


def upload(life: Life, folder: Path, word: str = "") -> str:
    """Make a version of some hundred files, of about 16 MiB, and return its id."""
    (folder / "deep").mkdir(parents=True)
    for number in range(300):
        (folder / "deep" / f"{number}").write_bytes(f"{word}{number}".encode() * 20_000)
    hub = life.service.hub()
    hub.datasets.ensure("digits", project=life.project)
    return str(hub.datasets.upload("digits", folder).id)


def reading(ref: str) -> list[dict[str, str]]:
    return [{"name": "d", "kind": "dataset", "ref": ref}]


async def kill_pod_of(life: Life, job: str) -> None:
    """Delete a job's pod at once."""
    api = Api(life.service.settings.kubernetes)
    await api.connect()
    try:
        pods, _ = await api.list("Pod", selector(life.hub_label))
        (pod,) = (pod for pod in pods if pod["metadata"]["annotations"][TASK] == job)
        await api.delete("Pod", pod["metadata"]["name"], grace_seconds=0)
    finally:
        await api.close()


def is_pack(path: str) -> bool:
    """Tell whether a path is of many small files: a large one is asked for after them."""
    return "/packs/" in path


def test_a_version_is_fetched_once_whoever_is_killed(life: Life, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    (given / "large").write_bytes(bytes(SMALL + 1))
    version = upload(life, given)
    killed = life.submit("true", inputs=reading(version))
    with life.service.still_after(is_pack):  # It has the small files then, and lacks the large one.
        asyncio.run(kill_pod_of(life, killed.id))
    assert life.jobs.wait(killed.id).state == "Error"
    jobs = [life.submit(READ, inputs=reading(version)) for _ in range(3)]
    ended = [life.jobs.wait(job.id) for job in jobs]
    assert [job.state for job in ended] == ["Succeeded"] * 3, [job.message for job in ended]
    logs = {life.jobs.log(job.id) for job in jobs}
    assert len(logs) == 1  # the same bytes in the same folder
    (log,) = logs
    assert log.splitlines()[-1] == "Read-only"
    # It is read where it lies: the service does not even have to hold its bytes any more.
    for pack in life.service.settings.state.objects.glob("*/packs/*/*"):
        pack.unlink()
    again = life.shell(READ, inputs=reading(version))
    assert (again.state, life.jobs.log(again.id)) == ("Succeeded", log)
    assert not list(life.service.settings.state.cache.glob("*/*"))


@pytest.fixture
def small(tmp_path: Path, cluster: Cluster) -> Iterator[Life]:
    """A service whose claim holds one version and a half."""
    found = [each for each in discover() if each.name in (*BELOW, "mounts")]
    made = Life(tmp_path / "state", cluster, found, cache_claim="small-versions", cache_size="24Mi")
    yield made
    made.service.stop()


def test_the_claim_keeps_its_size_and_what_is_mounted(small: Life, tmp_path: Path) -> None:
    old, mounted, new = (upload(small, tmp_path / name, name) for name in ("old", "mnt", "new"))
    ended = small.shell(READ, inputs=reading(old))
    assert ended.state == "Succeeded", ended.message
    # A notebook's wish brings a version into the claim as well, by a job that is gone then.
    mounts = small.service.hub().mounts
    made = mounts.mount(mounted, server="gpu")
    assert (made.state, made.path) == ("Ready", f"/datasets/{made.name}")
    assert [job.id for job in small.jobs.list()] == [ended.id]
    ended = small.shell(READ, inputs=reading(new))
    assert ended.state == "Succeeded", ended.message
    # What is in the claim can be read without the service's bytes, and nothing else.
    for pack in small.service.settings.state.objects.glob("*/packs/*/*"):
        pack.unlink()
    states = {ref: small.shell(READ, inputs=reading(ref)).state for ref in (mounted, old)}
    assert states == {mounted: "Succeeded", old: "Error"}
