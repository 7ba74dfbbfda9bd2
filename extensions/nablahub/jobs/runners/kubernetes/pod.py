"""The pod of a task: a pure function.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners.contract import (
    ARTIFACTS,
    CONTROL,
    ENVIRONMENT,
    LIBRARY,
    OUTPUTS,
    WORK,
    Mount,
    TaskSpec,
    Toleration,
)
from nablahub.jobs.runners.kubernetes.names import BEGIN, CANCEL, object_name

type Object = dict[str, Any]

MAIN: Final = "main"
COMMIT: Final = "commit"
FETCH: Final = "fetch"
HOME: Final = "/home/nabla"
PORT: Final = 8080
HEALTH_PORT: Final = 8081
USER: Final = 1000
_WISHES = "/run/nablahub-wishes"
_TASK = "/run/nablahub-task"
_INSIDE = "nablahub.jobs.runners.kubernetes.inside"
#: Of the container that brings everything out.
COMMIT_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "64Mi"},
    "limits": {"memory": "128Mi"},
}
#: Of the container that gets what is read, and of the other when it brings back what changed.
_FETCH_RESOURCES = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"memory": "512Mi"},
}
#: What is read by version.
READ: Final = ("dataset", "model", "public")
#: The volume that they lie in.
CACHE: Final = "cache"
#: The volume that folders of buckets lie in, and where what copies them sees all of it.
BUCKETS: Final = "buckets"
_BUCKETS_PATH = "/buckets"
#: Seconds, beside the others, in which what was changed in a bucket gets there when the pod is
#: being deleted.
_BRING_SECONDS = 300
_OWN = {"work": WORK, "home": HOME, "tmp": "/tmp", "artifacts": ARTIFACTS, "outputs": OUTPUTS}
SAFE: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def pod_template(
    task: TaskSpec, settings: KubernetesSettings, image: str, sub_paths: Mapping[str, str]
) -> Object:
    """The pod of a task without the claims it mounts and without its metadata.

    Parameters
    ----------
    sub_paths
        Where the versions lie that it reads, below the folder that holds them.
    """
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # The command's grace and some seconds in which what it left is brought out.
        "terminationGracePeriodSeconds": math.ceil(task.grace_seconds)
        + 15
        + (_BRING_SECONDS if _writes(task) else 0),
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_main(task, settings, image, sub_paths), _commit(task, settings)],
        "volumes": _volumes(task, settings),
    }
    if task.nodes > 1:
        # With the name that a Job of numbered pods gives each, this makes it known in DNS.
        spec["subdomain"] = object_name(settings.hub, task.name)
    if reads(task) or brings(task) or buckets(task):
        spec["initContainers"] = [_fetch(task, settings)]
    if settings.service_account is not None:
        spec["serviceAccountName"] = settings.service_account
    if settings.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    place = task.placement
    if place.node_selector:
        spec["nodeSelector"] = dict(place.node_selector)
    if place.tolerations:
        spec["tolerations"] = [_toleration(each) for each in place.tolerations]
    if place.runtime_class is not None:
        spec["runtimeClassName"] = place.runtime_class
    return {"spec": spec}


def _toleration(given: Toleration) -> Object:
    found = given.model_dump(exclude_none=True)
    if "seconds" in found:
        found["tolerationSeconds"] = found.pop("seconds")
    return found


def _main(
    task: TaskSpec, settings: KubernetesSettings, image: str, sub_paths: Mapping[str, str]
) -> Object:
    container = _container(MAIN, "supervisor", settings, image)
    container["resources"] = _resources(task, settings)
    container["volumeMounts"] = [
        {"name": name, "mountPath": path} for name, path in _OWN.items()
    ] + [
        {"name": "shared", "mountPath": CONTROL},
        _file("task.json"),
        {"name": "wishes", "mountPath": _WISHES},
    ]
    for number, mount in enumerate(task.mounts):
        if mount.kind == "string":
            container["volumeMounts"].append(
                {"name": "task", "mountPath": mount.path, "subPath": f"string-{number}"}
            )
        elif mount.kind == "own":
            container["volumeMounts"].append(
                {"name": "own", "mountPath": mount.path, "subPath": str(number)}
            )
        elif mount.kind == "output" and mount.ref:
            container["volumeMounts"].append(
                {"name": "outputs", "mountPath": mount.path, "subPath": mount.ref}
            )
        elif mount.kind == "bucket":
            # Of the mount's folder no more than this: what was in the bucket stands beside it.
            shown = {"name": BUCKETS, "mountPath": mount.path, "subPath": f"{number}/data"}
            container["volumeMounts"].append({**shown, "readOnly": mount.mode == "ro"})
        elif mount.kind in READ and settings.cache_claim is None:
            where = sub_paths.get(mount.path, str(number))
            container["volumeMounts"].append(
                {"name": CACHE, "mountPath": mount.path, "subPath": where, "readOnly": True}
            )
    return container


def reads(task: TaskSpec) -> bool:
    """Whether versions have to be there before a task begins."""
    return any(mount.kind in READ for mount in task.mounts)


def brings(task: TaskSpec) -> bool:
    """Whether a workspace has to be there before a task begins."""
    return any(mount.kind == "workspace" for mount in task.mounts)


def buckets(task: TaskSpec) -> dict[int, Mount]:
    """The folders of buckets that a task mounts, by their numbers among its mounts."""
    return {n: mount for n, mount in enumerate(task.mounts) if mount.kind == "bucket"}


def _writes(task: TaskSpec) -> bool:
    return any(mount.mode == "rw" for mount in buckets(task).values())


def writes_buckets(pod: Object) -> bool:
    """Whether a task's pod brings back what its command changed in buckets."""
    commit = next(each for each in pod["spec"]["containers"] if each["name"] == COMMIT)
    return any(mount["name"] == BUCKETS for mount in commit.get("volumeMounts", ()))


def _fetch(task: TaskSpec, settings: KubernetesSettings) -> Object:
    container = _container(FETCH, "fetch", settings, settings.image)
    # The client wants more than Python has: the packages of the image's environment.
    container["command"][0] = f"{ENVIRONMENT}/bin/python"
    container["resources"] = _FETCH_RESOURCES
    container["volumeMounts"] = [
        *([{"name": CACHE, "mountPath": "/fetched"}] if reads(task) else []),
        *([{"name": "work", "mountPath": WORK}] if brings(task) else []),
        {"name": "tmp", "mountPath": "/tmp"},
        _file("delivery.json"),
    ]
    if buckets(task):
        # It tells in the task's log how far it is.
        seen = {BUCKETS: _BUCKETS_PATH, "shared": CONTROL}
        container["volumeMounts"] += [{"name": n, "mountPath": path} for n, path in seen.items()]
    return container


def _commit(task: TaskSpec, settings: KubernetesSettings) -> Object:
    # From our own image: what a user's image holds must not decide how its files come out.
    container = _container(COMMIT, "commit", settings, settings.image)
    container["resources"] = _FETCH_RESOURCES if _writes(task) else COMMIT_RESOURCES
    container["volumeMounts"] = [
        # Not read-only: what the command made unreadable is made readable again.
        {"name": "artifacts", "mountPath": ARTIFACTS},
        {"name": "outputs", "mountPath": OUTPUTS},
        {"name": "shared", "mountPath": CONTROL},
        _file("delivery.json"),
    ]
    if _writes(task):
        container["volumeMounts"].append({"name": BUCKETS, "mountPath": _BUCKETS_PATH})
    return container


def _file(name: str) -> Object:
    """Where a container sees one of the files of the task's Secret, and none of the others."""
    return {"name": "task", "mountPath": f"{_TASK}/{name}", "subPath": name}


def _container(name: str, module: str, settings: KubernetesSettings, image: str) -> Object:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": settings.pull_policy,
        # -P: nothing that lies in the working folder is taken for a module.
        "command": ["python3", "-P", "-s", "-m", f"{_INSIDE}.{module}"],
        "env": [{"name": "PYTHONPATH", "value": LIBRARY}],
        "workingDir": "/",
        "securityContext": SAFE,
    }


def _resources(task: TaskSpec, settings: KubernetesSettings) -> Object:
    """Requests and limits alike: a pod that keeps to its limits is not what a node in need evicts.

    https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/
    """
    wanted = task.resources
    found: Object = {}
    if wanted.memory_bytes is not None:
        found["memory"] = str(wanted.memory_bytes)
    if wanted.gpus:
        found[task.placement.gpu_resource] = str(wanted.gpus)
    if settings.scratch_size is not None:
        # https://kubernetes.io/docs/concepts/configuration/manage-resources-containers/#local-ephemeral-storage
        found["ephemeral-storage"] = settings.scratch_size
    requests, limits = dict(found), dict(found)
    if wanted.cpus is not None:
        limits["cpu"] = str(wanted.cpus)
        requests["cpu"] = f"{round(1000 * wanted.cpus * settings.cpu_request)}m"
    return {"requests": requests, "limits": limits} if limits else {}


def _volumes(task: TaskSpec, settings: KubernetesSettings) -> list[Object]:
    volumes: list[Object] = [{"name": name, "emptyDir": {}} for name in (*_OWN, "shared")]
    if any(mount.kind == "own" for mount in task.mounts):
        volumes.append({"name": "own", "emptyDir": {}})
    if buckets(task):
        volumes.append({"name": BUCKETS, "emptyDir": {}})
    if reads(task) and settings.cache_claim is None:
        volumes.append({"name": CACHE, "emptyDir": {}})
    wishes = {"cancel": CANCEL} | ({"begin": BEGIN} if task.nodes > 1 else {})
    items = [
        {"path": path, "fieldRef": {"fieldPath": f"metadata.annotations['{name}']"}}
        for path, name in wishes.items()
    ]
    return [
        *volumes,
        {
            "name": "task",
            "secret": {"secretName": object_name(settings.hub, task.name), "defaultMode": 0o440},
        },
        {
            "name": "wishes",
            "downwardAPI": {"items": items},
        },
    ]
