"""What a cluster could ever give, and what a quota still leaves: pure, from the API's objects."""

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
    roomy = [n for n in gpu if n.has("cpu") >= cpus]
    if not roomy:
        most = max(n.has("cpu") for n in gpu)
        return f"Needs {kind.cpus} CPUs; the largest node has {_number(most)}."
    if not any(n.has("memory") >= Decimal(str(kind.memory_gib)) * GIB for n in roomy):
        most = max(n.has("memory") for n in roomy) / GIB
        return f"Needs {kind.memory_gib:g} GiB of memory; the largest node has {most:.1f} GiB."
    return None


def _number(value: Decimal) -> str:
    return f"{value.normalize():f}" if value else "0"


#: A quota's names for what containers ask for; the bare ones mean requests.
_PREFIXES = ("requests.", "limits.")


def over_quota(quotas: Iterable[Json], resources: Json) -> str | None:
    """Return what of a namespace's quotas a new pod would exceed, as a sentence; None if nothing.

    Parameters
    ----------
    quotas : iterable of mapping
        The namespace's ``ResourceQuota`` objects.
    resources : mapping
        ``requests`` and ``limits`` of the pod's container.
    """
    for found in quotas:
        status = found.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        if (found.get("spec") or {}).get("scopes") or (found.get("spec") or {}).get(
            "scopeSelector"
        ):
            continue  # may not count our pods; the API's answer to the pod itself decides
        for name, limit in hard.items():
            needed = _needed(name, resources)
            if needed is None:
                continue
            taken = quantity(used.get(name, "0"))
            if taken + needed > quantity(limit):
                return (
                    f"The quota {found['metadata']['name']!r} of this hub's servers is used up: "
                    f"{_what(name)} {_shown(name, taken)} of {_shown(name, quantity(limit))} "
                    f"taken, {_shown(name, needed)} more needed."
                )
    return None


def _needed(name: str, resources: Json) -> Decimal | None:
    if name in ("pods", "count/pods"):
        return Decimal(1)
    which, bare = "requests", name
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            which, bare = prefix[:-1], name.removeprefix(prefix)
    amount = resources.get(which, {}).get(bare)
    return None if amount is None else quantity(amount)


def _what(name: str) -> str:
    bare = name.removeprefix("requests.").removeprefix("limits.").removeprefix("count/")
    return {"cpu": "CPUs", "memory": "memory"}.get(bare, bare)


def _shown(name: str, amount: Decimal) -> str:
    return f"{amount / GIB:.1f} GiB" if name.endswith("memory") else _number(amount)
