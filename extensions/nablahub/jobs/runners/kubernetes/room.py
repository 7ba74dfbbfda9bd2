"""Whether any node of a cluster could ever run a task."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import Final

from nablahub.core.instances import GIB, InstanceType, Toleration
from nablahub.core.kubernetes import KubernetesSettings
from nablahub.core.nodes import Node, never
from nablahub.core.quantities import quantity
from nablahub.jobs.runners.contract import TaskSpec
from nablahub.jobs.runners.kubernetes.api import Api, ApiError, Away
from nablahub.jobs.runners.kubernetes.pod import COMMIT_RESOURCES

#: Seconds that a look at all nodes is good for: many jobs ask at the same time.
_KEPT: Final = 30.0
#: Seconds that a list of instance types waits for the cluster.
_PATIENCE: Final = 3.0
#: CPUs of what brings a job's files out; servers have none such.
_BESIDE: Final = quantity(COMMIT_RESOURCES["requests"]["cpu"])
REMEDY: Final = (
    "Choose another instance type. An administrator may let jobs ask for less than their CPUs "
    "(cpu_request), or say that nodes are added when they are needed (autoscaled)."
)


def no_room(task: TaskSpec, settings: KubernetesSettings, nodes: Sequence[Node]) -> str | None:
    """Return why no node can ever run a pod of a task, busy or not; None when one could."""
    wanted, place = task.resources, task.placement
    kind = InstanceType(
        name="",
        cpus=wanted.cpus or 0,
        memory_gib=(wanted.memory_bytes or 0) / GIB,
        gpu="GPU" if wanted.gpus else None,
        gpus=wanted.gpus,
        node_selector=place.node_selector,
        tolerations=tuple(Toleration(**each.model_dump()) for each in place.tolerations),
        gpu_resource=place.gpu_resource,
    )
    beside = _BESIDE if task.kind == "task" else Decimal(0)
    why = never(kind, nodes, cpu_request_share=settings.cpu_request, beside=beside)
    return None if why is None else f"No node of the cluster can ever run it. {why} {REMEDY}"


def too_big(kind: InstanceType, settings: KubernetesSettings, nodes: Sequence[Node]) -> str | None:
    """Return why no node can ever run a job of an instance type; None when one could."""
    return never(kind, nodes, cpu_request_share=settings.cpu_request, beside=_BESIDE)


class Room:
    """What the nodes of a cluster can ever give, as long as we may look at them.

    Parameters
    ----------
    api : Api
        The cluster.
    settings : KubernetesSettings
        How its pods look.
    """

    def __init__(self, api: Api, settings: KubernetesSettings) -> None:
        self._api = api
        self._settings = settings
        self._until = 0.0
        self._nodes: list[Node] | None = None

    async def lacks(self, task: TaskSpec) -> str | None:
        """Return why no node can ever run a task; None when one can, or nobody knows."""
        if self._settings.autoscaled:
            return None
        known = time.monotonic() < self._until
        if not known:
            await self._look()
        why = self._why(task)
        if why is not None and known:  # A node may have come since.
            await self._look()
            why = self._why(task)
        return why

    async def lacking(self, kinds: Iterable[InstanceType]) -> dict[str, str]:
        """Return why no node can ever run jobs of instance types, by the names of those types.

        Nothing where nodes are added when they are needed, or nobody knows the nodes.
        """
        if self._settings.autoscaled:
            return {}
        if time.monotonic() >= self._until:
            with suppress(TimeoutError):
                async with asyncio.timeout(_PATIENCE):
                    await self._look()
        nodes = self._nodes
        if nodes is None:
            return {}
        found = ((kind.name, too_big(kind, self._settings, nodes)) for kind in kinds)
        return {name: why for name, why in found if why is not None}

    def _why(self, task: TaskSpec) -> str | None:
        return None if self._nodes is None else no_room(task, self._settings, self._nodes)

    async def _look(self) -> None:
        # Who does not answer now is asked again, by what makes the task's objects first.
        with suppress(ApiError, *Away):
            await self._api.connect()
            found = await self._api.nodes()
            self._nodes = None if found is None else [Node.of(each) for each in found]
            self._until = time.monotonic() + _KEPT
