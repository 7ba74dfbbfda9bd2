"""The objects of a `serve` task, whole, as Kubernetes takes them."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners.contract import TaskName, TaskSpec
from nablahub.jobs.runners.kubernetes.names import object_name
from nablahub.jobs.runners.kubernetes.objects import Cluster
from nablahub.jobs.runners.kubernetes.servers import (
    autoscaler,
    deployment,
    disruption_budget,
    seldon,
    server_secret,
    service,
    template,
)

SETTINGS = KubernetesSettings(
    hub="lab", image="runner:1", namespace="work", images={"serving": "serving:1"}, cpu_request=0.5
)
CLUSTER = Cluster(SETTINGS, "http://hub:8081/services/nablahub")
NAME = "nabla-jone-NAME"
LABELS = {"app": "nablahub", "nablahub.org/hub": "lab", "component": "job"}
POD_LABELS = {**LABELS, "nablahub.org/server": NAME}
META = {"name": NAME, "labels": LABELS, "annotations": {"nablahub.org/task": "jone"}}
SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
INSIDE = "nablahub.jobs.runners.kubernetes.inside"
TASK = TaskSpec.model_validate(
    {
        "name": "jone", "kind": "serve", "environment": "serving", "grace_seconds": 15,
        "command": ["python", "-m", "nablahub.serving"],
        "env": {"A": "b", "NABLAHUB_TOKEN": "nhr_secret", "PAPERSPACE_API_KEY": "nhr_secret"},
        "delivery_token": "nhrd_secret",
        "mounts": [
            {"path": "/inputs/model", "kind": "model", "ref": "mo1:abc"},
            {"path": "/inputs/keys", "kind": "keys", "ref": "d1"},
        ],
        "resources": {"cpus": 2, "memory_bytes": 1 << 30},
        "probe": {"path": "/ready", "live": "/live", "own_port": True, "period": 2},
        "scale": {"least": 2, "most": 5, "cpu": 70, "memory": 80},
    }
)  # fmt: skip
FIXED = TASK.model_copy(update={"scale": TASK.scale.model_copy(update={"most": 2})})
SCALE = '{"least":2,"most":5,"cpu":70,"memory":80}'


def plain(made: dict[str, Any] | None) -> Any:
    """An object with the task's name as a word, so that it can be written down."""
    name = object_name("lab", TaskName("jone"))
    return json.loads(json.dumps(made).replace(name, NAME))


def container(name: str, module: str, image: str, mounts: list[Any], resources: Any) -> Any:
    return {
        "name": name, "image": image, "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-P", "-s", "-m", f"{INSIDE}.{module}"],
        "env": [{"name": "PYTHONPATH", "value": "/opt/nablahub/lib"}], "workingDir": "/",
        "securityContext": SAFE, "resources": resources, "volumeMounts": mounts,
    }  # fmt: skip


def read(key: str) -> dict[str, str]:
    return {"name": "task", "mountPath": f"/run/nablahub-task/{key}", "subPath": key}


def asked(path: str, every: int, failures: int) -> Any:
    return {
        "httpGet": {"path": path, "port": 8081}, "periodSeconds": every, "timeoutSeconds": 2,
        "failureThreshold": failures,
    }  # fmt: skip


def wanted_pod() -> Any:
    main = container(
        "main", "supervisor", "serving:1",
        [
            {"name": "work", "mountPath": "/work"},
            {"name": "home", "mountPath": "/home/nabla"},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "artifacts", "mountPath": "/artifacts"},
            {"name": "outputs", "mountPath": "/outputs"},
            {"name": "shared", "mountPath": "/run/nablahub"},
            read("task.json"),
            {"name": "wishes", "mountPath": "/run/nablahub-wishes"},
            {"name": "cache", "mountPath": "/inputs/model", "subPath": "0", "readOnly": True},
            {"name": "keys", "mountPath": "/inputs/keys", "readOnly": True},
        ],
        {
            "requests": {"memory": "1073741824", "cpu": "1000m"},
            "limits": {"memory": "1073741824", "cpu": "2"},
        },
    )  # fmt: skip
    main |= {
        "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"sleep": {"seconds": 4}}},
        "startupProbe": asked("/ready", 1, 600),
        "readinessProbe": asked("/ready", 2, 2),
        "livenessProbe": asked("/live", 5, 6),
    }
    beside = container(
        "beside", "beside", "runner:1",
        [
            {"name": "shared", "mountPath": "/run/nablahub"},
            read("delivery.json"),
            {"name": "keys", "mountPath": "/keys"},
        ],
        {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
    )  # fmt: skip
    fetch = container(
        "fetch", "fetch", "runner:1",
        [
            {"name": "cache", "mountPath": "/fetched"},
            {"name": "tmp", "mountPath": "/tmp"},
            read("delivery.json"),
        ],
        {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    )  # fmt: skip
    fetch["command"][0] = "/opt/nablahub/environment/bin/python"
    empty = ("work", "home", "tmp", "artifacts", "outputs", "shared", "cache")
    wish = {"fieldPath": "metadata.annotations['nablahub.org/cancel']"}
    return {
        "restartPolicy": "Always",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 29,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [main, beside],
        "initContainers": [fetch],
        "volumes": [
            *({"name": name, "emptyDir": {}} for name in empty),
            {"name": "task", "secret": {"secretName": NAME, "defaultMode": 0o440}},
            {"name": "wishes", "downwardAPI": {"items": [{"path": "cancel", "fieldRef": wish}]}},
            {"name": "keys", "emptyDir": {"medium": "Memory"}},
        ],
    }  # fmt: skip


TEMPLATE = {"labels": POD_LABELS, "annotations": {"nablahub.org/task": "jone"}}
METRICS = [
    {
        "type": "ContainerResource",
        "containerResource": {
            "name": name, "container": "main",
            "target": {"type": "Utilization", "averageUtilization": percent},
        },
    }
    for name, percent in (("cpu", 70), ("memory", 80))
]  # fmt: skip


def test_the_deployment_whole() -> None:
    assert plain(deployment(TASK, CLUSTER)) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {**META, "annotations": {**META["annotations"], "nablahub.org/scale": SCALE}},  # type: ignore[dict-item]
        "spec": {
            "replicas": 2,
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": POD_LABELS},
            "strategy": {
                "type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}
            },
            "template": {"metadata": TEMPLATE, "spec": wanted_pod()},
        },
    }  # fmt: skip


def test_the_service_whole() -> None:
    assert plain(service(TASK, CLUSTER)) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": META,
        "spec": {
            "type": "ClusterIP",
            "selector": POD_LABELS,
            "ports": [{"name": "http", "port": 8080, "targetPort": 8080}],
        },
    }


def test_the_autoscaler_whole() -> None:
    assert plain(autoscaler(TASK, CLUSTER)) == {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": META,
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": NAME},
            "minReplicas": 2,
            "maxReplicas": 5,
            "metrics": METRICS,
        },
    }


def test_a_fixed_number_of_servers_has_no_autoscaler() -> None:
    assert autoscaler(FIXED, CLUSTER) is None


def test_the_disruption_budget_whole() -> None:
    assert plain(disruption_budget(TASK, CLUSTER)) == {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": META,
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": POD_LABELS},
        },
    }
    alone = TASK.model_copy(update={"scale": TASK.scale.model_copy(update={"least": 1, "most": 1})})
    assert disruption_budget(alone, CLUSTER) is None


def test_the_seldon_deployment_whole() -> None:
    pod = wanted_pod()
    pod["containers"][0]["lifecycle"] = {"preStop": {"exec": {"command": ["sleep", "4"]}}}
    component = {
        "metadata": TEMPLATE,
        "spec": pod,
        "hpaSpec": {"minReplicas": 2, "maxReplicas": 5, "metricsv2": METRICS},
    }
    predictor = {
        "name": "default",
        "annotations": {"seldon.io/no-engine": "true"},
        "replicas": 2,
        "graph": {
            "name": "main", "type": "MODEL",
            "endpoint": {"type": "REST", "service_port": 8080, "httpPort": 8080},
        },
        "componentSpecs": [component],
    }  # fmt: skip
    assert plain(seldon(TASK, CLUSTER)) == {
        "apiVersion": "machinelearning.seldon.io/v1",
        "kind": "SeldonDeployment",
        "metadata": {**META, "annotations": {**META["annotations"], "nablahub.org/scale": SCALE}},  # type: ignore[dict-item]
        "spec": {"name": NAME, "protocol": "v2", "predictors": [predictor]},
    }
    made = seldon(FIXED, CLUSTER)["spec"]["predictors"][0]["componentSpecs"][0]
    assert set(made) == {"metadata", "spec"}


@pytest.mark.parametrize("task", [TASK, FIXED])
def test_what_is_made_is_valid(task: TaskSpec) -> None:
    made = [deployment(task, CLUSTER), service(task, CLUSTER), server_secret(task, CLUSTER)]
    scaler = autoscaler(task, CLUSTER)
    for each in [*made, scaler] if scaler else made:
        kubernetes_validate.validate(each, "1.31", strict=True)


def test_main_is_told_neither_the_token_nor_where_the_service_is() -> None:
    texts = server_secret(TASK, CLUSTER)["stringData"]
    assert "nhr_secret" not in texts["task.json"]
    assert "hub:8081" not in texts["task.json"]
    main = json.loads(texts["task.json"])
    assert main["env"]["A"] == "b"
    assert (main["env"]["PORT"], main["env"]["HEALTH_PORT"]) == ("8080", "8081")
    assert "nhrd_secret" not in texts["task.json"]
    assert json.loads(texts["delivery.json"]) == {
        "service": {"url": "http://hub:8081/services/nablahub", "token": "nhrd_secret"},
        "path": "/api/v1/jobs/jone/task",
        "nodes": 1,
        "cached": False,
        "room": 90 << 30,  # nine tenths of the claim
        "workspace": False,
        "fetch": [{"kind": "model", "ref": "mo1:abc", "to": "0"}],
        "outputs": False,
        "datasets": [],
        "keys": True,
    }
    spec = template(TASK, CLUSTER)["spec"]
    read_by = {
        c["name"]: [m.get("subPath") for m in c["volumeMounts"] if m["name"] == "task"]
        for c in (*spec["containers"], *spec["initContainers"])
    }
    assert read_by == {
        "main": ["task.json"], "beside": ["delivery.json"], "fetch": ["delivery.json"]
    }  # fmt: skip


def test_with_a_claim_of_the_cache_versions_are_laid_there() -> None:
    settings = SETTINGS.model_copy(update={"cache_claim": "cache"})
    spec = template(TASK, Cluster(settings, "http://hub", {"/inputs/model": "mo1/abc"}))["spec"]
    (fetch,) = spec["initContainers"]
    assert {"name": "cache", "mountPath": "/fetched"} in fetch["volumeMounts"]
    claim = {"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}}
    assert [v for v in spec["volumes"] if v["name"] == "cache"] == [claim]
    shown = {m["mountPath"]: m for m in spec["containers"][0]["volumeMounts"]}
    assert shown["/inputs/model"] == {
        "name": "cache", "mountPath": "/inputs/model", "readOnly": True, "subPath": "mo1/abc"
    }  # fmt: skip
