"""Jobs that no node of a cluster can ever run."""

from __future__ import annotations

from typing import Any, cast

import pytest

from nablahub.core.instances import CATALOGUE
from nablahub.core.kubernetes import KubernetesSettings
from nablahub.core.nodes import Node
from nablahub.jobs.runners.contract import Placement, Resources, TaskName, TaskSpec
from nablahub.jobs.runners.kubernetes.api import Api, ApiError
from nablahub.jobs.runners.kubernetes.room import Room, no_room

SETTINGS = KubernetesSettings()
NODE: dict[str, Any] = {
    "metadata": {"name": "n", "labels": {"zone": "a"}},
    "status": {"allocatable": {"cpu": "2", "memory": "8Gi"}},
}


def task(cpus: int = 1, gpus: int = 0, **selector: str) -> TaskSpec:
    wanted = Resources(cpus=cpus, memory_bytes=1 << 30, gpus=gpus)
    place = Placement(node_selector=selector)
    return TaskSpec(name=TaskName("j"), command=("true",), resources=wanted, placement=place)


@pytest.mark.parametrize(
    ("wanted", "why"),
    [
        (task(2), "Needs 2 CPUs and a little more; the largest node has 2."),
        (task(64), "Needs 64 CPUs; the largest node has 2."),
        (task(1, gpus=1), "Needs 1 × GPU; its nodes have no GPU (nvidia.com/gpu)."),
        (task(1, zone="b"), "No node of the cluster is labelled zone=b."),
    ],
)
def test_what_no_node_can_ever_give_is_told_with_the_way_out(wanted: TaskSpec, why: str) -> None:
    said = no_room(wanted, SETTINGS, [Node.of(NODE)])
    assert said is not None
    assert said.startswith(f"No node of the cluster can ever run it. {why} Choose another")
    assert "cpu_request" in said


def test_what_a_node_can_give_when_it_is_free_is_not_refused() -> None:
    assert no_room(task(1), SETTINGS, [Node.of(NODE)]) is None
    half = SETTINGS.model_copy(update={"cpu_request": 0.5})
    assert no_room(task(2), half, [Node.of(NODE)]) is None


def test_a_server_needs_room_for_itself_alone() -> None:
    serving = task(2).model_copy(update={"kind": "serve"})
    assert no_room(serving, SETTINGS, [Node.of(NODE)]) is None


class Cluster:
    """A fake of what is asked of a cluster: its nodes."""

    def __init__(self, nodes: list[dict[str, Any]] | None, *, away: bool = False) -> None:
        self.found, self._away = nodes, away

    async def connect(self) -> None:
        """It is there."""

    async def nodes(self) -> list[dict[str, Any]] | None:
        if self._away:
            raise ApiError(500, "not now")
        return self.found


def room(settings: KubernetesSettings, cluster: Cluster) -> Room:
    return Room(cast("Api", cluster), settings)


async def test_where_nodes_come_or_are_not_known_jobs_wait() -> None:
    many = task(64)
    assert await room(SETTINGS, Cluster([NODE])).lacks(many) is not None
    assert await room(SETTINGS, Cluster(None)).lacks(many) is None
    assert await room(SETTINGS, Cluster([], away=True)).lacks(many) is None
    growing = SETTINGS.model_copy(update={"autoscaled": True})
    assert await room(growing, Cluster([NODE])).lacks(many) is None


async def test_a_node_that_came_just_now_counts() -> None:
    cluster = Cluster([NODE])
    made, wanted = room(SETTINGS, cluster), task(1, zone="b")
    assert await made.lacks(task(1)) is None
    assert await made.lacks(wanted) is not None
    other = {"name": "m", "labels": {"zone": "b"}}
    cluster.found = [NODE, {**NODE, "metadata": other}]
    assert await made.lacks(wanted) is None


async def test_a_list_of_types_tells_which_no_node_can_ever_run() -> None:
    kinds = [CATALOGUE[name] for name in ("Free-CPU", "C7", "A100")]
    half = SETTINGS.model_copy(update={"cpu_request": 0.5})
    lacking = await room(half, Cluster([NODE])).lacking(kinds)
    assert lacking == {
        "C7": "Needs 12 CPUs; the largest node has 2.",
        "A100": "Needs 1 × A100; its nodes have no GPU (nvidia.com/gpu).",
    }
    assert await room(SETTINGS, Cluster(None)).lacking(kinds) == {}
    assert await room(SETTINGS, Cluster([], away=True)).lacking(kinds) == {}
    growing = SETTINGS.model_copy(update={"autoscaled": True})
    assert await room(growing, Cluster([NODE])).lacking(kinds) == {}
