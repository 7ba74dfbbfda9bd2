"""The pod of a task: a pure function.

https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/
"""

from __future__ import annotations

import math
from typing import Any, Final

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners.contract import (
    ARTIFACTS,
    CONTROL,
    LIBRARY,
    OUTPUTS,
    WORK,
    Resources,
    TaskSpec,
)
from nablahub.jobs.runners.kubernetes.names import CANCEL, object_name

type Object = dict[str, Any]

MAIN: Final = "main"
COMMIT: Final = "commit"
HOME: Final = "/home/nabla"
PORT: Final = 8080
USER: Final = 1000
_WISHES = "/run/nablahub-wishes"
_TASK = "/run/nablahub-task"
_INSIDE = "nablahub.jobs.runners.kubernetes.inside"
#: Of the container that brings everything out.
_COMMIT_RESOURCES = {
    "requests": {"cpu": "10m", "memory": "64Mi"},
    "limits": {"memory": "128Mi"},
}
_OWN = {"work": WORK, "home": HOME, "tmp": "/tmp", "artifacts": ARTIFACTS, "outputs": OUTPUTS}
_SAFE: Final = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}


def pod_template(task: TaskSpec, settings: KubernetesSettings, image: str) -> Object:
    """The pod of a task without the claims it mounts and without its metadata."""
    spec: Object = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        # The command's grace and some seconds in which what it left is brought out.
        "terminationGracePeriodSeconds": math.ceil(task.grace_seconds) + 15,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_main(task, settings, image), _commit(settings, image)],
        "volumes": _volumes(task, settings),
    }
    if settings.service_account is not None:
        spec["serviceAccountName"] = settings.service_account
    if settings.pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in settings.pull_secrets]
    return {"spec": spec}


def _main(task: TaskSpec, settings: KubernetesSettings, image: str) -> Object:
    container = _container(MAIN, "supervisor", settings, image)
    container["resources"] = _resources(task.resources)
    container["volumeMounts"] = [
        {"name": name, "mountPath": path} for name, path in _OWN.items()
    ] + [
        {"name": "shared", "mountPath": CONTROL},
        {"name": "task", "mountPath": f"{_TASK}/task.json", "subPath": "task.json"},
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
    if task.kind == "serve":
        container["ports"] = [{"containerPort": PORT}]
        container["readinessProbe"] = {
            "httpGet": {"path": task.probe.path, "port": PORT},
            "periodSeconds": max(1, math.ceil(task.probe.period)),
            "timeoutSeconds": max(1, math.ceil(task.probe.timeout)),
        }
    return container


def _commit(settings: KubernetesSettings, image: str) -> Object:
    container = _container(COMMIT, "commit", settings, image)
    container["resources"] = _COMMIT_RESOURCES
    container["volumeMounts"] = [
        {"name": "artifacts", "mountPath": ARTIFACTS, "readOnly": True},
        {"name": "outputs", "mountPath": OUTPUTS, "readOnly": True},
        {"name": "shared", "mountPath": CONTROL},
        {"name": "task", "mountPath": f"{_TASK}/task.json", "subPath": "task.json"},
    ]
    return container


def _container(name: str, module: str, settings: KubernetesSettings, image: str) -> Object:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": settings.pull_policy,
        # -P: nothing that lies in the working folder is taken for a module.
        "command": ["python3", "-P", "-s", "-m", f"{_INSIDE}.{module}"],
        "env": [{"name": "PYTHONPATH", "value": LIBRARY}],
        "workingDir": "/",
        "securityContext": _SAFE,
    }


def _resources(wanted: Resources) -> Object:
    """Requests and limits alike, so that a pod is the last that a node in need evicts.

    https://kubernetes.io/docs/concepts/workloads/pods/pod-qos/
    """
    found: Object = {}
    if wanted.cpus is not None:
        found["cpu"] = str(wanted.cpus)
    if wanted.memory_bytes is not None:
        found["memory"] = str(wanted.memory_bytes)
    if wanted.gpus:
        found["nvidia.com/gpu"] = str(wanted.gpus)
    return {"requests": found, "limits": dict(found)} if found else {}


def _volumes(task: TaskSpec, settings: KubernetesSettings) -> list[Object]:
    volumes: list[Object] = [{"name": name, "emptyDir": {}} for name in (*_OWN, "shared")]
    if any(mount.kind == "own" for mount in task.mounts):
        volumes.append({"name": "own", "emptyDir": {}})
    wish = {"fieldPath": f"metadata.annotations['{CANCEL}']"}
    return [
        *volumes,
        {
            "name": "task",
            "secret": {"secretName": object_name(settings.hub, task.name), "defaultMode": 0o440},
        },
        {
            "name": "wishes",
            "downwardAPI": {"items": [{"path": "cancel", "fieldRef": wish}]},
        },
    ]
