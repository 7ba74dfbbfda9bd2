"""What a pod's state means: the cluster's own words, as seen, and what people are told."""

from __future__ import annotations

from typing import Any

import pytest

from nablahub.core.instances import CATALOGUE, InstanceType
from nablahub_spawner.kubernetes.reasons import Running, Terminal, Waiting, judge, refused

A100 = CATALOGUE["A100"]
C4 = CATALOGUE["C4"]
IMAGE = "registry/notebook:1"


def pod(*, meta: dict[str, Any] | None = None, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p", **(meta or {})}, "status": status}


def unscheduled(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "message": message}
    return pod(phase="Pending", conditions=[condition])


def container(**state: Any) -> dict[str, Any]:
    found = {"name": "notebook", "image": IMAGE, "ready": False, "state": state}
    return pod(
        phase="Pending",
        conditions=[{"type": "PodScheduled", "status": "True"}],
        containerStatuses=[found],
    )


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return container(waiting={"reason": reason, "message": message})


def event(reason: str, message: str = "") -> dict[str, Any]:
    return {"reason": reason, "message": message}


MANIFEST = (
    'failed to pull and unpack image "registry/notebook:1": failed to resolve reference '
    '"registry/notebook:1": registry/notebook:1: not found'
)
NO_ROOM = (
    "0/3 nodes are available: 1 node(s) had untolerated taint {a: b}, 2 Insufficient cpu. "
    "preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod."
)
NO_GPU = "0/2 nodes are available: 2 Insufficient nvidia.com/gpu."
NO_NODE = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector."
NO_MODE = (
    'failed to provision volume with StorageClass "standard": NodePath only supports '
    "ReadWriteOnce and ReadWriteOncePod (1.22+) access modes"
)

TERMINAL: list[tuple[str, dict[str, Any], list[dict[str, Any]], InstanceType, str, str]] = [
    ("missing", waiting("ErrImagePull", MANIFEST), [], C4, "image", "it does not exist"),
    (
        "back-off",
        waiting("ImagePullBackOff", f"Back-off pulling image: ErrImagePull: {MANIFEST}"),
        [],
        C4,
        "image",
        "cannot be pulled",
    ),
    (
        "denied",
        waiting("ErrImagePull", "pull access denied, repository does not exist"),
        [],
        C4,
        "image",
        "does not give out",
    ),
    (
        "unresolvable",
        waiting("ErrImagePull", "dial tcp: lookup registry: no such host"),
        [],
        C4,
        "image",
        "no such host",
    ),
    ("never", waiting("ErrImageNeverPull"), [], C4, "image", "not on the node"),
    ("name", waiting("InvalidImageName"), [], C4, "image", "no name of an image"),
    (
        "secret",
        waiting("CreateContainerConfigError", 'secret "openai" not found'),
        [],
        C4,
        "container",
        'secret "openai" not found',
    ),
    (
        "command",
        waiting("RunContainerError", 'exec: "x": not found'),
        [],
        C4,
        "container",
        "cannot be made",
    ),
    (
        "exit",
        container(terminated={"exitCode": 3, "message": "No config."}),
        [],
        C4,
        "exited",
        "exit code 3: No config.",
    ),
    (
        "start",
        container(terminated={"exitCode": 128, "reason": "StartError", "message": "no such file"}),
        [],
        C4,
        "container",
        "cannot be made: no such file.",
    ),
    (
        "memory",
        container(terminated={"exitCode": 137, "reason": "OOMKilled"}),
        [],
        C4,
        "memory",
        "out of memory",
    ),
    (
        "evicted",
        pod(phase="Failed", reason="Evicted", message="The node was low on memory"),
        [],
        C4,
        "evicted",
        "low on memory.",
    ),
    (
        "deleted",
        pod(meta={"deletionTimestamp": "now"}, phase="Pending"),
        [],
        C4,
        "removed",
        "removed",
    ),
    (
        "nowhere",
        unscheduled(NO_NODE),
        [],
        A100,
        "instance",
        "No node of the cluster is meant for A100",
    ),
    (
        "mode",
        unscheduled("0/1 nodes: pod has unbound immediate PersistentVolumeClaims."),
        [event("ProvisioningFailed", NO_MODE)],
        C4,
        "storage",
        "access modes.",
    ),
    (
        "class",
        unscheduled(""),
        [event("ProvisioningFailed", 'storageclass "x" not found')],
        C4,
        "storage",
        'storageclass "x" not found.',
    ),
    (
        "no class",
        unscheduled(""),
        [event("FailedBinding", "no storage class is set")],
        C4,
        "storage",
        "no storage class is set.",
    ),
    (
        "claim",
        unscheduled('persistentvolumeclaim "cache" not found'),
        [],
        C4,
        "storage",
        "cache is not",
    ),
]

WAITING: list[tuple[str, dict[str, Any], list[dict[str, Any]], InstanceType, str]] = [
    ("new", pod(phase="Pending"), [], C4, "A place on a node is looked for."),
    (
        "busy",
        unscheduled(NO_ROOM),
        [],
        C4,
        "All nodes are busy: waiting for room for C4 (2 CPUs · 4 GiB).",
    ),
    (
        "gpu",
        unscheduled(NO_GPU),
        [],
        A100,
        "No node with an A100 is free; your server starts when one is.",
    ),
    (
        "gpus",
        unscheduled(NO_GPU),
        [],
        CATALOGUE["V100x2"],
        "No node with 2 × V100 is free; your server starts when one is.",
    ),
    (
        "home",
        unscheduled("0/2 nodes are available: 2 node(s) had volume node affinity conflict."),
        [],
        C4,
        "Your storage lies on a node that has no room now; waiting for it.",
    ),
    (
        "claim",
        unscheduled("pod has unbound immediate PersistentVolumeClaims"),
        [],
        C4,
        "The server's storage is being made.",
    ),
    (
        "throttled",
        unscheduled("pod has unbound immediate PersistentVolumeClaims"),
        [event("ProvisioningFailed", "rate limit exceeded, try again")],
        C4,
        "The server's storage is being made.",
    ),
    (
        "mended",
        unscheduled("pod has unbound immediate PersistentVolumeClaims"),
        [event("ProvisioningFailed", NO_MODE), event("ProvisioningSucceeded")],
        C4,
        "The server's storage is being made.",
    ),
    (
        "slow registry",
        waiting("ErrImagePull", "429 Too Many Requests"),
        [],
        C4,
        f"The image {IMAGE} could not be pulled yet; it is tried again.",
    ),
    (
        "pulling",
        waiting("ContainerCreating"),
        [event("Scheduled"), event("Pulling")],
        C4,
        "The image is being pulled; the first time on a node takes minutes.",
    ),
    (
        "pulled",
        waiting("ContainerCreating"),
        [event("Pulling"), event("Pulled")],
        C4,
        "The image is there; the server's container is being started.",
    ),
    (
        "mount",
        waiting("ContainerCreating"),
        [event("FailedMount", "timed out")],
        C4,
        "The server's storage is not there yet: timed out.",
    ),
    (
        "scheduled",
        waiting("ContainerCreating"),
        [],
        C4,
        "A node was found; the server's container is being made.",
    ),
]


@pytest.mark.parametrize(
    ("state", "events", "kind", "reason", "words"),
    [row[1:] for row in TERMINAL],
    ids=[row[0] for row in TERMINAL],
)
def test_what_waiting_cannot_mend_is_told_with_its_remedy(
    state: dict[str, Any], events: list[dict[str, Any]], kind: InstanceType, reason: str, words: str
) -> None:
    found = judge(state, events, kind, grows=False)
    assert isinstance(found, Terminal)
    assert found.reason == reason
    assert words in found.sentence
    assert found.remedy.endswith(".")
    assert found.sentence.count(". ") == 0, "one sentence"


@pytest.mark.parametrize(
    ("state", "events", "kind", "words"),
    [row[1:] for row in WAITING],
    ids=[row[0] for row in WAITING],
)
def test_what_may_still_come_says_what_is_waited_for(
    state: dict[str, Any], events: list[dict[str, Any]], kind: InstanceType, words: str
) -> None:
    assert judge(state, events, kind, grows=False) == Waiting(words)


def test_a_cluster_that_grows_waits_for_its_nodes() -> None:
    found = judge(unscheduled(NO_NODE), [], A100, grows=True)
    assert isinstance(found, Waiting)


def test_a_ready_container_with_an_address_runs() -> None:
    ready = pod(phase="Running", podIP="10.0.0.1", containerStatuses=[{"ready": True}])
    assert judge(ready, [], C4, grows=False) == Running()


def test_a_container_that_was_started_again_will_end_again() -> None:
    state = waiting("CrashLoopBackOff")
    state["status"]["containerStatuses"][0]["lastState"] = {"terminated": {"exitCode": 1}}
    found = judge(state, [], C4, grows=False)
    assert isinstance(found, Terminal)
    assert "exit code 1" in found.sentence


QUOTA = (
    'pods "nb-ada" is forbidden: exceeded quota: users, requested: requests.memory=4Gi, '
    "used: requests.memory=14Gi, limited: requests.memory=16Gi"
)


@pytest.mark.parametrize(
    ("status", "message", "reason", "words"),
    [
        (403, QUOTA, "quota", "requests.memory=14Gi of requests.memory=16Gi taken"),
        (403, "maximum memory usage per Container is 2Gi, but limit is 4Gi", "limits", "is 2Gi"),
        (403, 'violates PodSecurity "restricted:latest"', "refused", "PodSecurity"),
        (422, "spec.containers[0].image: Required value", "refused", "Required value."),
    ],
)
def test_refusals_of_the_api(status: int, message: str, reason: str, words: str) -> None:
    found = refused(status, message)
    assert found is not None
    assert found.reason == reason
    assert words in found.sentence


def test_a_right_that_the_hub_lacks_is_the_hubs_own_fault() -> None:
    assert refused(403, 'User "x" cannot create resource "pods" in API group ""') is None
    assert refused(500, "etcd is away") is None


def test_the_claim_that_gets_no_volume_is_named() -> None:
    told = {**event("ProvisioningFailed", NO_MODE), "involvedObject": {"name": "storage-a"}}
    found = judge(unscheduled(""), [told], C4, grows=False)
    assert isinstance(found, Terminal)
    assert found.sentence.startswith("The server's storage cannot be made (the claim storage-a): ")
