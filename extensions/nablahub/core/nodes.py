"""What the nodes of a cluster could ever give: pure, from the API's objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from nablahub.core.instances import GIB, InstanceType, Toleration
from nablahub.core.quantities import quantity

Json = Mapping[str, Any]
#: Taints that come and go with a node's health: they say nothing about ever.
_PASSING = "node.kubernetes.io/"


@dataclass(frozen=True)
class Node:
    """What a node has for pods in all, used or not.

    Parameters
    ----------
    allocatable : mapping of str to Decimal
        By resource; CPUs as a number, memory in bytes.
    labels : mapping of str to str
        Its labels.
    taints : tuple of mapping
        As Kubernetes writes them.
    """

    allocatable: Mapping[str, Decimal]
    labels: Mapping[str, str] = field(default_factory=dict)
    taints: tuple[Json, ...] = ()

    @classmethod
    def of(cls, node: Json) -> Node:
        """Return the node of the API's object."""
        spec, status = node.get("spec") or {}, node.get("status") or {}
        given = status.get("allocatable") or {}
        return cls(
            {name: quantity(amount) for name, amount in given.items()},
            node["metadata"].get("labels") or {},
            tuple(spec.get("taints") or ()),
        )

    def has(self, resource: str) -> Decimal:
        """Return how much of a resource it has."""
        return self.allocatable.get(resource, Decimal(0))

    def admits(self, selector: Mapping[str, str], tolerations: Sequence[Json | Toleration]) -> bool:
        """Whether pods with that selector and those tolerations may go there."""
        if any(self.labels.get(name) != value for name, value in selector.items()):
            return False
        return all(
            any(_tolerates(toleration, taint) for toleration in tolerations)
            for taint in self.taints
            if taint.get("effect") != "PreferNoSchedule"
            and not str(taint.get("key", "")).startswith(_PASSING)
        )


def _tolerates(toleration: Json | Toleration, taint: Json) -> bool:
    if isinstance(toleration, Toleration):
        key, operator = toleration.key, toleration.operator
        value, effect = toleration.value, toleration.effect
    else:
        key, operator = toleration.get("key"), toleration.get("operator", "Equal")
        value, effect = toleration.get("value"), toleration.get("effect")
    if effect and effect != taint.get("effect"):
        return False
    if not key:
        return operator == "Exists"
    if key != taint.get("key"):
        return False
    return operator == "Exists" or (value or "") == (taint.get("value") or "")


def never(
    kind: InstanceType,
    nodes: Iterable[Node],
    *,
    cpu_request_share: float = 1.0,
    beside: Decimal = Decimal(0),
    node_selector: Mapping[str, str] | None = None,
    tolerations: Sequence[Json] = (),
) -> str | None:
    """Return why no node could ever run an instance of a type, busy or not; None when one could.

    Parameters
    ----------
    kind : InstanceType
        The instance type.
    nodes : iterable of Node
        All nodes of the cluster.
    cpu_request_share : float
        How much of its CPUs a pod asks for.
    beside : Decimal
        How many CPUs other containers of the pod ask for.
    node_selector, tolerations
        What the hub gives all pods, beside what the type says.
    """
    everywhere = list(nodes)
    selector = {**(node_selector or {}), **kind.node_selector}
    allowed = [n for n in everywhere if n.admits(selector, [*tolerations, *kind.tolerations])]
    if not everywhere:
        return "The cluster has no node."
    if not allowed:
        if selector and not any(
            n.admits(selector, [Toleration(operator="Exists")]) for n in everywhere
        ):
            wanted = ", ".join(f"{name}={value}" for name, value in sorted(selector.items()))
            return f"No node of the cluster is labelled {wanted}."
        return "Every node that could is reserved for other work (a taint)."
    gpu = [n for n in allowed if n.has(kind.gpu_resource) >= kind.gpus]
    if kind.gpus and not gpu:
        most = max(n.has(kind.gpu_resource) for n in allowed)
        have = f"at most {most} of them" if most else "no GPU"
        return f"Needs {kind.gpus} × {kind.gpu}; its nodes have {have} ({kind.gpu_resource})."
    cpus = Decimal(str(kind.cpus)) * Decimal(str(cpu_request_share))
    roomy = [n for n in gpu if n.has("cpu") >= cpus + beside]
    if not roomy:
        most = max(n.has("cpu") for n in gpu)
        more = " and a little more" if most >= cpus else ""
        return f"Needs {kind.cpus} CPUs{more}; the largest node has {number_text(most)}."
    if not any(n.has("memory") >= Decimal(str(kind.memory_gib)) * GIB for n in roomy):
        most = max(n.has("memory") for n in roomy) / GIB
        return f"Needs {kind.memory_gib:g} GiB of memory; the largest node has {most:.1f} GiB."
    return None


def number_text(value: Decimal) -> str:
    """Return a number without zeros that say nothing."""
    return f"{value.normalize():f}" if value else "0"
