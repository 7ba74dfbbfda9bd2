"""Volumes that steps hand on are claims: gone with their run, whatever was killed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nablahub.core.extension import discover
from nablahub.jobs.runners.contract import Mount, TaskSpec
from nablahub.jobs.runners.kubernetes.api import Api
from nablahub.jobs.runners.kubernetes.objects import Cluster as Target
from nablahub.jobs.runners.kubernetes.objects import claims
from nablahub.workflows.api import WorkflowsAPI
from tests.cluster.lives import BELOW, Life
from tests.cluster.target import Cluster
from tests.support.waiting import until

EXTENSIONS = [one for one in discover() if one.name in (*BELOW, "workflows")]
CHAIN = """
defaults: {resources: {instance-type: C3}}
jobs:
  first:
    uses: script@v1
    outputs: {folder: {type: volume}, kept: {type: dataset, with: {ref: kept}}}
    with: {script: "echo handed on > /outputs/folder/file; echo kept > /outputs/kept/file"}
  second:
    uses: script@v1
    needs: [first]
    inputs: {folder: first.outputs.folder}
    outputs: {said: {type: string}}
    with: {script: "cat /inputs/folder/file > /outputs/said; echo mine > /storage/file"}
"""


@pytest.fixture
def life(tmp_path: Path, cluster: Cluster) -> Iterator[Life]:
    made = Life(tmp_path / "state", cluster, EXTENSIONS, volume_size="16Mi")
    yield made
    made.service.stop()


def on(life: Life, work: Any) -> Any:
    """What some work with the cluster's API gives."""

    async def run() -> Any:
        api = Api(life.service.settings.kubernetes)
        await api.connect()
        try:
            return await work(api)
        finally:
            await api.close()

    return asyncio.run(run())


def kinds(life: Life) -> list[str]:
    """What the claims of this hub hold."""
    found, _ = on(
        life, lambda a: a.list("PersistentVolumeClaim", f"nablahub.org/hub={life.hub_label}")
    )
    return sorted(claim["metadata"]["labels"]["component"] for claim in found)


def test_volumes_go_with_their_run_and_storage_stays(life: Life) -> None:
    workflows = WorkflowsAPI(life.service.transport())
    flow = workflows.create(life.project, CHAIN, name="chain")
    run = workflows.wait(workflows.start(flow.id))
    assert run.state == "Succeeded", run.message
    until(lambda: kinds(life) == ["storage"], "the volume is gone, the storage is not")
    assert life.service.hub().datasets.read("kept", "file") == b"kept\n"
    again = life.shell("cat /storage/file")
    assert life.jobs.log(again.id) == "mine\n"


def test_volumes_of_runs_that_ended_while_nobody_looked_are_collected(life: Life) -> None:
    life.service.stop()
    mount = Mount(path="/v", kind="volume", ref="run-that-ended/job.folder", mode="rw")
    target = Target(life.service.settings.kubernetes, "")
    (claim,) = claims(TaskSpec(command=("true",), mounts=(mount,)), target)
    assert on(life, lambda api: api.create(claim)) is True
    life.begin()
    until(lambda: kinds(life) == [], "what no run has is gone")
