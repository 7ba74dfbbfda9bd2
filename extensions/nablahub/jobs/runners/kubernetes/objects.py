"""From a `TaskSpec` to the objects of a cluster: pure functions, compared whole by their tests."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any, Final

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.core.quantities import quantity
from nablahub.jobs.runners.contract import (
    WORK,
    Mount,
    TaskRefused,
    TaskSpec,
)
from nablahub.jobs.runners.kubernetes.inside import nodes
from nablahub.jobs.runners.kubernetes.names import REF, TASK, claim_name, labels, object_name
from nablahub.jobs.runners.kubernetes.pod import (
    CACHE,
    HEALTH_PORT,
    PORT,
    READ,
    brings,
    buckets,
    pod_template,
)
from nablahub.jobs.runners.variables import variables

type Object = dict[str, Any]

#: Of the cache's claim, what versions may take: beyond it, those that nobody reads go.
CACHE_SHARE: Final = Decimal("0.9")
#: A Secret holds at most 1 MiB: https://kubernetes.io/docs/concepts/configuration/secret/
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Cluster:
    """What of a cluster and its hub decides how a task's objects look.

    Parameters
    ----------
    settings
        The administrator's choices.
    service_url
        How pods reach the service.
    sub_paths
        Where in a cache the versions lie that a task reads, by the mount's path.
    """

    settings: KubernetesSettings
    service_url: str
    sub_paths: dict[str, str] = field(default_factory=dict)


def image_of(task: TaskSpec, settings: KubernetesSettings) -> str:
    """The image of a task's environment."""
    return settings.images.get(task.environment or "", settings.image)


def check(task: TaskSpec, settings: KubernetesSettings) -> None:
    """Refuse what could never be made.

    Raises
    ------
    TaskRefused
        A file's name leaves the working folder, or a mount is of a kind that pods do not have.
    """
    for name in task.files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts:
            raise TaskRefused(f"The file name {name!r} leads out of the job's working folder.")
    known = {"default", *settings.images}
    if task.environment is not None and task.environment not in known:
        raise TaskRefused(
            f"No image is set for the environment {task.environment!r}: "
            "an administrator names one in the setting `images`."
        )
    for mount in task.mounts:
        if mount.kind == "keys" and task.kind != "serve":
            raise TaskRefused("Only servers are shown the hub's folder of prediction keys.")


def secret(task: TaskSpec, cluster: Cluster) -> Object:
    """What the pod's containers read: the command with its variables, files and strings.

    Raises
    ------
    TaskRefused
        It is too long for a Secret.
    """
    name = object_name(cluster.settings.hub, task.name)
    content = {
        "command": list(task.command),
        "env": environment(task),
        "files": dict(task.files),
        "timeout": task.timeout_seconds,
        "grace": task.grace_seconds,
        "memory": task.resources.memory_bytes,
        "places": sorted({WORK, *(m.path for m in task.mounts if m.mode == "rw")}),
        "nodes": nodes.hosts(name, task.nodes) if task.nodes > 1 else [],
    }
    delivery = {
        "service": {"url": cluster.service_url, "token": task.delivery_token},
        "path": f"/api/v1/jobs/{task.name}/task",
        "nodes": task.nodes,
        "outputs": any(mount.kind == "output" for mount in task.mounts),
        "datasets": [mount.ref for mount in task.mounts if mount.kind == "output" and mount.ref],
        "fetch": [
            {"kind": mount.kind, "ref": mount.ref, "to": cluster.sub_paths.get(mount.path, str(n))}
            for n, mount in enumerate(task.mounts)
            if mount.kind in READ
        ],
        "workspace": brings(task),
        "cached": cluster.settings.cache_claim is not None,
        "room": int(quantity(cluster.settings.cache_size) * CACHE_SHARE),
    }
    if buckets(task):
        scratch = cluster.settings.scratch_size
        delivery["scratch"] = None if scratch is None else int(quantity(scratch))
        delivery["buckets"] = [
            {"mount": mount.own_name, "at": str(n), "read_only": mount.mode == "ro"}
            for n, mount in buckets(task).items()
        ]
    data = {
        "task.json": json.dumps(content, ensure_ascii=False),
        "delivery.json": json.dumps(delivery, ensure_ascii=False),
    }
    data |= {f"string-{n}": m.ref for n, m in enumerate(task.mounts) if m.kind == "string"}
    if sum(len(text.encode()) for text in data.values()) > _LARGEST:
        raise TaskRefused(
            "Its files, texts and variables are longer than 1 MiB in all, "
            "which is more than a pod can be given: put what is long into a dataset."
        )
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(task, cluster),
        "immutable": True,
        "stringData": data,
    }


def job(task: TaskSpec, cluster: Cluster) -> Object:
    """The Job of a task: a pod for each node, never a second one in its place.

    The first pod that fails ends the others:
    https://kubernetes.io/docs/concepts/workloads/controllers/job/
    """
    image = image_of(task, cluster.settings)
    template = pod_template(task, cluster.settings, image, cluster.sub_paths)
    for volume, mount in claims_of(task, cluster):
        if volume not in template["spec"]["volumes"]:
            template["spec"]["volumes"].append(volume)
        template["spec"]["containers"][0]["volumeMounts"].append(mount)
    meta = _metadata(task, cluster)
    template["metadata"] = {"labels": meta["labels"], "annotations": meta["annotations"]}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "backoffLimit": 0,
            "completions": task.nodes,
            "parallelism": task.nodes,
            **({"completionMode": "Indexed"} if task.nodes > 1 else {}),
            "template": template,
        },
    }


def neighbourhood(task: TaskSpec, cluster: Cluster, uid: str) -> list[Object]:
    """What the nodes of a task need to find and reach each other; goes with its Job.

    Parameters
    ----------
    uid
        The Job's.
    """
    if task.nodes == 1:
        return []
    meta = _metadata(task, cluster)
    meta["ownerReferences"] = [
        {"apiVersion": "batch/v1", "kind": "Job", "name": meta["name"], "uid": uid}
    ]
    nodes_of_it = {"batch.kubernetes.io/job-name": meta["name"]}
    found: list[Object] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": meta,
            # https://kubernetes.io/docs/concepts/services-networking/dns-pod-service/
            "spec": {
                "clusterIP": "None",
                "publishNotReadyAddresses": True,
                "selector": nodes_of_it,
            },
        }
    ]
    if cluster.settings.network_policies:
        peers = [{"podSelector": {"matchLabels": nodes_of_it}}]
        found.append(
            {
                "apiVersion": "networking.k8s.io/v1",
                "kind": "NetworkPolicy",
                "metadata": meta,
                "spec": {
                    "podSelector": {"matchLabels": nodes_of_it},
                    "policyTypes": ["Ingress", "Egress"],
                    "ingress": [{"from": peers}],
                    "egress": [{"to": peers}],
                },
            }
        )
    return found


def claims(task: TaskSpec, cluster: Cluster) -> list[Object]:
    """The claims behind what a task sees, made when they are not there."""
    settings = cluster.settings
    found: dict[str, Object] = {}
    sizes = {
        "storage": settings.storage_size, "volume": settings.volume_size, CACHE: settings.cache_size
    }  # fmt: skip
    for mount in task.mounts:
        name, _ = _claim_of(mount, cluster)
        if name is None:
            continue
        kind = CACHE if mount.kind in READ else mount.kind
        size = sizes[kind]
        spec: Object = {
            "accessModes": [settings.access_mode],
            "resources": {"requests": {"storage": size}},
        }
        if settings.storage_class is not None:
            spec["storageClassName"] = settings.storage_class
        found[name] = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {
                "name": name,
                "labels": {**labels(settings.hub), "component": kind},
                "annotations": {} if kind == CACHE else {REF: mount.ref},
            },
            "spec": spec,
        }
    return list(found.values())


def environment(task: TaskSpec) -> dict[str, str]:
    """The variables of a pod's command; a server listens where the pod is reached."""
    own = {}
    if task.kind == "serve":
        own = {"PORT": str(PORT), "HOST": "0.0.0.0"}
        if task.probe.own_port:
            own["HEALTH_PORT"] = str(HEALTH_PORT)
    return variables(task, **own)


def claims_of(task: TaskSpec, cluster: Cluster) -> list[tuple[Object, Object]]:
    """Volumes of a pod that are claims, with where `main` sees them."""
    found: list[tuple[Object, Object]] = []
    for mount in task.mounts:
        claim, sub_path = _claim_of(mount, cluster)
        if claim is None:
            continue
        # A claim that an administrator made may be called what a volume may not.
        name = CACHE if mount.kind in READ else claim
        shown: Object = {"name": name, "mountPath": mount.path, "readOnly": mount.mode == "ro"}
        if sub_path is not None:
            shown["subPath"] = sub_path
        volume: Object = {"name": name, "persistentVolumeClaim": {"claimName": claim}}
        found.append((volume, shown))
    return found


def _claim_of(mount: Mount, cluster: Cluster) -> tuple[str | None, str | None]:
    if mount.kind in ("volume", "storage"):
        return claim_name(cluster.settings.hub, mount), None
    if mount.kind in READ:
        return cluster.settings.cache_claim, cluster.sub_paths.get(mount.path)
    return None, None


def _metadata(task: TaskSpec, cluster: Cluster) -> Object:
    hub = cluster.settings.hub
    return {
        "name": object_name(hub, task.name),
        "labels": labels(hub),
        "annotations": {TASK: task.name},
    }
