"""From a `serve` `TaskSpec` to the objects of a cluster: pure functions, compared whole by tests.

A Deployment keeps as many pods as there are to be and replaces those that die, a Service is their
one address, and a HorizontalPodAutoscaler changes their number when they are busy. Where Seldon
Core's operator shall make the pods, a SeldonDeployment takes the places of the first and the last.
"""

from __future__ import annotations

import json
import math
from typing import Final

from nablahub.jobs.runners.contract import Scale, TaskSpec
from nablahub.jobs.runners.kubernetes.names import SCALE, SERVER, TASK, labels, object_name
from nablahub.jobs.runners.kubernetes.objects import Cluster, Object, claims_of, image_of, secret
from nablahub.jobs.runners.kubernetes.pod import COMMIT, HEALTH_PORT, MAIN, PORT, pod_template

BESIDE: Final = "beside"
#: A pod that is to end goes on for so long as if nothing were, until nobody opens new connections
#: to it: that it is one of the Service's no more reaches the nodes' tables only after a moment.
#: https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-termination-flow
LEAVING_SECONDS: Final = 4
#: In which the last of the log goes out.
_LAST_SECONDS: Final = 10
#: How long a server may take to load what it serves, in seconds.
_LOADING_SECONDS: Final = 600
#: Variables that hold the token of a task's command.
TOKENS: Final = ("NABLAHUB_TOKEN", "PAPERSPACE_API_KEY")
_GROUP: Final = "machinelearning.seldon.io/v1"


def kind_of(task: TaskSpec) -> str:
    """The kind of the object that makes a task's pods."""
    return "SeldonDeployment" if task.maker == "seldon" else "Deployment"


def server_secret(task: TaskSpec, cluster: Cluster) -> Object:
    """What the pods' containers read; main has no token of any kind.

    It runs what users wrote, for anybody who may send it requests.
    """
    made = secret(task, cluster)
    texts = made["stringData"]
    content, delivery = json.loads(texts["task.json"]), json.loads(texts["delivery.json"])
    content["env"] = {k: v for k, v in content["env"].items() if k not in TOKENS}
    delivery["keys"] = any(mount.kind == "keys" for mount in task.mounts)
    for name, text in (("task.json", content), ("delivery.json", delivery)):
        texts[name] = json.dumps(text, ensure_ascii=False)
    return made


def service(task: TaskSpec, cluster: Cluster) -> Object:
    """The one address of a task's servers, which stays while they come and go."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(task, cluster),
        "spec": {
            "type": "ClusterIP",
            "selector": _pods(task, cluster),
            "ports": [{"name": "http", "port": PORT, "targetPort": PORT}],
        },
    }


def deployment(task: TaskSpec, cluster: Cluster) -> Object:
    """The Deployment of a task: a pod that dies is replaced, none is ended before its successor.

    https://kubernetes.io/docs/concepts/workloads/controllers/deployment/
    """
    meta = metadata(task, cluster)
    meta["annotations"][SCALE] = said(task.scale)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": task.scale.least,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": _pods(task, cluster)},
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": template(task, cluster),
        },
    }


def autoscaler(task: TaskSpec, cluster: Cluster) -> Object | None:
    """What changes the number of a task's pods; None when that is fixed.

    It looks at the container main alone, whose share of the pod the spec speaks of.
    https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/
    """
    if task.scale.fixed or task.maker == "seldon":
        return None
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(task, cluster),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": object_name(cluster.settings.hub, task.name),
            },
            "minReplicas": task.scale.least,
            "maxReplicas": task.scale.most,
            "metrics": _metrics(task.scale),
        },
    }


def disruption_budget(task: TaskSpec, cluster: Cluster) -> Object | None:
    """What keeps the draining of nodes from ending all servers at once; None for a single one.

    A server that does not answer anyway holds no drain up.
    https://kubernetes.io/docs/tasks/run-application/configure-pdb/
    """
    if task.scale.most < 2:
        return None
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(task, cluster),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": _pods(task, cluster)},
        },
    }


def seldon(task: TaskSpec, cluster: Cluster) -> Object:
    """The same pods from Seldon Core's operator, without its orchestrator between.

    https://docs.seldon.io/projects/seldon-core/en/latest/reference/seldon-deployment.html
    """
    meta = metadata(task, cluster)
    meta["annotations"][SCALE] = said(task.scale)
    made = template(task, cluster)
    # The resource's schema is older than the action `sleep`, and would drop it.
    waiting = {"exec": {"command": ["sleep", str(LEAVING_SECONDS)]}}
    made["spec"]["containers"][0]["lifecycle"] = {"preStop": waiting}
    component: Object = {"metadata": made["metadata"], "spec": made["spec"]}
    predictor: Object = {
        "name": "default",
        "annotations": {"seldon.io/no-engine": "true"},
        "replicas": task.scale.least,
        "graph": {
            "name": MAIN,
            "type": "MODEL",
            "endpoint": {"type": "REST", "service_port": PORT, "httpPort": PORT},
        },
        "componentSpecs": [component],
    }
    if not task.scale.fixed:
        component["hpaSpec"] = {
            "minReplicas": task.scale.least,
            "maxReplicas": task.scale.most,
            "metricsv2": _metrics(task.scale),
        }
    return {
        "apiVersion": _GROUP,
        "kind": "SeldonDeployment",
        "metadata": meta,
        "spec": {"name": meta["name"], "protocol": "v2", "predictors": [predictor]},
    }


def template(task: TaskSpec, cluster: Cluster) -> Object:
    """The pod of one server, with its labels."""
    settings = cluster.settings
    made = pod_template(task, settings, image_of(task, settings), cluster.sub_paths)
    spec: Object = made["spec"]
    spec["restartPolicy"] = "Always"
    spec["terminationGracePeriodSeconds"] = (
        LEAVING_SECONDS + math.ceil(task.grace_seconds) + _LAST_SECONDS
    )
    main, commit = spec["containers"]
    beside = _beside(task, commit)
    spec["containers"] = [main, beside]
    main["ports"] = [{"name": "http", "containerPort": PORT, "protocol": "TCP"}]
    main["lifecycle"] = {"preStop": {"sleep": {"seconds": LEAVING_SECONDS}}}
    main |= _probes(task)
    keys = [mount.path for mount in task.mounts if mount.kind == "keys"]
    if keys:
        spec["volumes"].append({"name": "keys", "emptyDir": {"medium": "Memory"}})
        beside["volumeMounts"].append({"name": "keys", "mountPath": "/keys"})
        main["volumeMounts"] += [
            {"name": "keys", "mountPath": path, "readOnly": True} for path in keys
        ]
    for volume, shown in claims_of(task, cluster):
        if volume not in spec["volumes"]:
            spec["volumes"].append(volume)
        main["volumeMounts"].append(shown)
    meta = {"labels": _pods(task, cluster), "annotations": {TASK: task.name}}
    return {"metadata": meta, "spec": spec}


def said(scale: Scale) -> str:
    """A scale as an annotation."""
    return scale.model_dump_json(exclude_none=True)


def metadata(task: TaskSpec, cluster: Cluster) -> Object:
    """Name and marks of a task's objects."""
    hub = cluster.settings.hub
    return {
        "name": object_name(hub, task.name),
        "labels": labels(hub),
        "annotations": {TASK: task.name},
    }


def _pods(task: TaskSpec, cluster: Cluster) -> dict[str, str]:
    hub = cluster.settings.hub
    return {**labels(hub), SERVER: object_name(hub, task.name)}


def _beside(task: TaskSpec, commit: Object) -> Object:
    """The container that holds the token: it brings the log out and the keys in, as they change."""
    made = {**commit, "name": BESIDE, "command": [*commit["command"]]}
    made["command"][-1] = made["command"][-1].removesuffix(COMMIT) + BESIDE
    made["volumeMounts"] = [
        {**shown} for shown in commit["volumeMounts"] if shown["name"] in ("shared", "task")
    ]
    return made


def _probes(task: TaskSpec) -> Object:
    """What the kubelet asks: whether it has begun, whether it hangs, whether it takes requests.

    https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
    """
    port = HEALTH_PORT if task.probe.own_port else PORT
    period = max(1, math.ceil(task.probe.period))
    timeout = max(1, math.ceil(task.probe.timeout))

    def get(path: str, every: int, failures: int) -> Object:
        return {
            "httpGet": {"path": path, "port": port}, "periodSeconds": every,
            "timeoutSeconds": timeout, "failureThreshold": failures,
        }  # fmt: skip

    found = {
        "startupProbe": get(task.probe.path, 1, _LOADING_SECONDS),
        "readinessProbe": get(task.probe.path, period, 2),
    }
    if task.probe.live is not None:
        found["livenessProbe"] = get(task.probe.live, max(period, 5), 6)
    return found


def _metrics(scale: Scale) -> list[Object]:
    return [
        {
            "type": "ContainerResource",
            "containerResource": {
                "name": name,
                "container": MAIN,
                "target": {"type": "Utilization", "averageUtilization": percent},
            },
        }
        for name, percent in (("cpu", scale.cpu), ("memory", scale.memory))
        if percent is not None
    ]
