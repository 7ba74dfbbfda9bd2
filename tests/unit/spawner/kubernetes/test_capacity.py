"""What a cluster can ever give, and what quotas leave."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablahub.core.instances import CATALOGUE, InstanceType, Toleration
from nablahub.core.nodes import Node, never
from nablahub.core.quantities import quantity
from nablahub_spawner.kubernetes.capacity import over_quota
from nablahub_spawner.kubernetes.objects import resources

TAINT = {"key": "gpu", "value": "yes", "effect": "NoSchedule"}


def node(
    cpu: str = "4", memory: str = "16Gi", gpus: str = "0", *taints: dict[str, str], **labels: str
) -> Node:
    return Node.of(
        {
            "metadata": {"labels": labels},
            "spec": {"taints": list(taints)},
            "status": {"allocatable": {"cpu": cpu, "memory": memory, "nvidia.com/gpu": gpus}},
        }
    )


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("2", 2),
        ("1500m", Decimal("1.5")),
        ("4Gi", 4 * 2**30),
        ("1e3", 1000),
        ("1E", 10**18),
        ("24631216Ki", 24631216 * 1024),
        ("0", 0),
        ("100n", Decimal("1e-7")),
        (8, 8),
    ],
)
def test_quantities(text: str | int, number: Decimal | int) -> None:
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "Gi", "x", "1 Gi", "1X"])
def test_what_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match="no quantity"):
        quantity(text)


@given(st.integers(0, 10**15))
def test_milli_is_a_thousandth(number: int) -> None:
    assert quantity(f"{number}m") * 1000 == number


V100 = CATALOGUE["V100"]  # 8 CPUs, 30 GiB
TAINTED = InstanceType("T", 1, 1, tolerations=(Toleration("gpu", "Equal", "yes"),))
LABELLED = InstanceType("L", 1, 1, node_selector={"pool": "big"})


@pytest.mark.parametrize(
    ("kind", "nodes", "sentence"),
    [
        (CATALOGUE["C4"], [node()], None),
        (CATALOGUE["C4"], [], "The cluster has no node."),
        (CATALOGUE["C7"], [node(), node("8")], "Needs 12 CPUs; the largest node has 8."),
        (
            InstanceType("M", 1, 64),
            [node()],
            "Needs 64 GiB of memory; the largest node has 16.0 GiB.",
        ),
        (V100, [node("8", "32Gi")], "Needs 1 × V100; its nodes have no GPU (nvidia.com/gpu)."),
        (V100, [node("8", "32Gi", "1")], None),
        (
            CATALOGUE["V100x4"],
            [node("64", "512Gi", "2")],
            "Needs 4 × V100; its nodes have at most 2 of them (nvidia.com/gpu).",
        ),
        (
            V100,
            [node("64", "512Gi"), node("4", "32Gi", "1")],
            "Needs 8 CPUs; the largest node has 4.",
        ),
        (LABELLED, [node()], "No node of the cluster is labelled pool=big."),
        (LABELLED, [node(pool="big")], None),
        (
            CATALOGUE["C4"],
            [node("4", "16Gi", "0", TAINT)],
            "Every node that could is reserved for other work (a taint).",
        ),
        (TAINTED, [node("4", "16Gi", "0", TAINT)], None),
    ],
)
def test_what_no_node_can_ever_give(
    kind: InstanceType, nodes: list[Node], sentence: str | None
) -> None:
    assert never(kind, nodes) == sentence


def test_a_node_that_is_only_unwell_may_recover() -> None:
    unwell = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
    assert never(CATALOGUE["C4"], [node("4", "16Gi", "0", unwell)]) is None


def test_a_share_of_the_cpus_is_all_that_a_node_must_have() -> None:
    assert never(CATALOGUE["C4"], [node("1900m")]) is not None
    assert never(CATALOGUE["C4"], [node("1900m")], cpu_request_share=0.9) is None


def quota(hard: dict[str, str], used: dict[str, str], **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "users"}, "spec": spec, "status": {"hard": hard, "used": used}}


@pytest.mark.parametrize(
    ("hard", "used", "words"),
    [
        ({"pods": "2"}, {"pods": "2"}, "pods 2 of 2 taken, 1 more needed."),
        ({"pods": "2"}, {"pods": "1"}, None),
        (
            {"requests.memory": "16Gi"},
            {"requests.memory": "14Gi"},
            "memory 14.0 GiB of 16.0 GiB taken, 4.0 GiB more needed.",
        ),
        ({"cpu": "2"}, {"cpu": "500m"}, "CPUs 0.5 of 2 taken, 2 more needed."),
        ({"limits.cpu": "4"}, {"limits.cpu": "2"}, None),
        ({"requests.nvidia.com/gpu": "1"}, {"requests.nvidia.com/gpu": "1"}, None),
        ({"count/secrets": "1"}, {"count/secrets": "1"}, None),
    ],
)
def test_quotas(hard: dict[str, str], used: dict[str, str], words: str | None) -> None:
    found = over_quota([quota(hard, used)], resources(CATALOGUE["C4"]))
    if words is None:
        assert found is None
    else:
        assert found == f"The quota 'users' of this hub's servers is used up: {words}"


def test_quotas_of_some_pods_only_are_left_to_the_api() -> None:
    scoped = quota({"pods": "0"}, {"pods": "0"}, scopes=["BestEffort"])
    assert over_quota([scoped], resources(CATALOGUE["C4"])) is None
