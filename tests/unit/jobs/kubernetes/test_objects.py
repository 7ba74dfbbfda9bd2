"""The objects of a task, whole, as Kubernetes takes them."""

from __future__ import annotations

import json
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablahub.core import kubenames
from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners.contract import Mount, Resources, TaskName, TaskRefused, TaskSpec
from nablahub.jobs.runners.kubernetes.names import claim_name, object_name
from nablahub.jobs.runners.kubernetes.objects import (
    Cluster,
    check,
    claims,
    job,
    neighbourhood,
    secret,
)

SETTINGS = KubernetesSettings(hub="lab", image="runner:1", namespace="work")
CLUSTER = Cluster(SETTINGS, "http://hub:8081/services/nablahub", {"/inputs/d": "team/d"})
META = {
    "name": "nabla-jone-NAME",
    "labels": {"app": "nablahub", "nablahub.org/hub": "lab", "component": "job"},
    "annotations": {"nablahub.org/task": "jone"},
}
SAFE = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "readOnlyRootFilesystem": True,
}
TASK_FILE, DELIVERY_FILE = (
    {"name": "task", "mountPath": f"/run/nablahub-task/{name}.json", "subPath": f"{name}.json"}
    for name in ("task", "delivery")
)
INSIDE = "nablahub.jobs.runners.kubernetes.inside"


def task(**fields: Any) -> TaskSpec:
    return TaskSpec.model_validate({"name": "jone", "command": ["true"], **fields})


def plain(made: dict[str, Any]) -> Any:
    """An object with the task's name as a word, so that it can be written down."""
    name = object_name("lab", TaskName("jone"))
    return json.loads(json.dumps(made).replace(name, "nabla-jone-NAME"))


def container(name: str, module: str, mounts: list[Any], resources: Any) -> Any:
    return {
        "name": name, "image": "runner:1", "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-P", "-s", "-m", f"{INSIDE}.{module}"],
        "env": [{"name": "PYTHONPATH", "value": "/opt/nablahub/lib"}], "workingDir": "/",
        "securityContext": SAFE, "resources": resources, "volumeMounts": mounts,
    }  # fmt: skip


def test_the_job_of_a_plain_task_whole() -> None:
    made = plain(job(task(resources=Resources(cpus=2, memory_bytes=1 << 30)), CLUSTER))
    shown = {"cpu": "2", "memory": "1073741824"}
    main = container(
        "main", "supervisor",
        [
            {"name": "work", "mountPath": "/work"},
            {"name": "home", "mountPath": "/home/nabla"},
            {"name": "tmp", "mountPath": "/tmp"},
            {"name": "artifacts", "mountPath": "/artifacts"},
            {"name": "outputs", "mountPath": "/outputs"},
            {"name": "shared", "mountPath": "/run/nablahub"},
            TASK_FILE,
            {"name": "wishes", "mountPath": "/run/nablahub-wishes"},
        ],
        {"requests": {"memory": "1073741824", "cpu": "2000m"}, "limits": shown},
    )  # fmt: skip
    commit = container(
        "commit", "commit",
        [
            {"name": "artifacts", "mountPath": "/artifacts"},
            {"name": "outputs", "mountPath": "/outputs"},
            {"name": "shared", "mountPath": "/run/nablahub"},
            DELIVERY_FILE,
        ],
        {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
    )  # fmt: skip
    empty = ("work", "home", "tmp", "artifacts", "outputs", "shared")
    wish = {"fieldPath": "metadata.annotations['nablahub.org/cancel']"}
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 25,
        "securityContext": {
            "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [main, commit],
        "volumes": [
            *({"name": name, "emptyDir": {}} for name in empty),
            {"name": "task", "secret": {"secretName": "nabla-jone-NAME", "defaultMode": 0o440}},
            {"name": "wishes", "downwardAPI": {"items": [{"path": "cancel", "fieldRef": wish}]}},
        ],
    }  # fmt: skip
    labels = {"labels": META["labels"], "annotations": META["annotations"]}
    assert made == {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": META,
        "spec": {
            "backoffLimit": 0, "completions": 1, "parallelism": 1,
            "template": {"metadata": labels, "spec": pod},
        },
    }  # fmt: skip


MANY = task(
    kind="serve", environment="torch", env={"A": "b"}, files={"a/b.txt": "text"},
    grace_seconds=0.2, timeout_seconds=3.5,
    mounts=[
        {"path": "/storage", "kind": "storage", "ref": "team", "mode": "rw"},
        {"path": "/inputs/v", "kind": "volume", "ref": "run/v"},
        {"path": "/outputs/v", "kind": "volume", "ref": "run/v", "mode": "rw"},
        {"path": "/inputs/d", "kind": "dataset", "ref": "ds1:abc"},
        {"path": "/inputs/s", "kind": "string", "ref": "words"},
        {"path": "/own", "kind": "own", "mode": "rw"},
        {"path": "/outputs", "kind": "output", "mode": "rw"},
        {"path": "/outputs/o", "kind": "output", "ref": "o", "mode": "rw"},
    ],
    resources={"gpus": 1},
    placement={
        "node_selector": {"pool": "gpu"}, "runtime_class": "nvidia", "gpu_resource": "amd.com/gpu",
        "tolerations": [{"key": "gpu", "operator": "Exists", "effect": "NoExecute", "seconds": 5}],
    },
)  # fmt: skip
CACHED = Cluster(
    SETTINGS.model_copy(update={"cache_claim": "versions.of-all", "storage_class": "nfs",
                                "service_account": "jobs", "pull_secrets": ("key",)}),
    "http://hub", {"/inputs/d": "team/version"},
)  # fmt: skip


@pytest.mark.parametrize("cluster", [CLUSTER, CACHED])
@pytest.mark.parametrize("spec", [task(), MANY])
def test_what_is_made_is_valid(spec: TaskSpec, cluster: Cluster) -> None:
    for made in (job(spec, cluster), secret(spec, cluster), *claims(spec, cluster)):
        kubernetes_validate.validate(made, "1.31", strict=True)


def test_each_claim_is_one_volume_of_the_pod_and_is_made_once() -> None:
    pod = job(MANY, CACHED)["spec"]["template"]["spec"]
    names = [volume["name"] for volume in pod["volumes"]]
    assert len(names) == len(set(names))
    shown = {m["mountPath"]: m for m in pod["containers"][0]["volumeMounts"]}
    assert shown["/inputs/d"]["subPath"] == "team/version"
    assert shown["/inputs/d"]["readOnly"] is True
    assert shown["/inputs/v"]["name"] == shown["/outputs/v"]["name"]
    assert (shown["/inputs/v"]["readOnly"], shown["/outputs/v"]["readOnly"]) == (True, False)
    assert len(claims(MANY, CACHED)) == 3
    # What fills the claim writes into it; the command does not.
    (fetch,) = pod["initContainers"]
    assert {m["name"] for m in fetch["volumeMounts"]} == {"cache", "tmp", "task"}
    assert {v["name"]: v for v in pod["volumes"]}["cache"] == {
        "name": "cache", "persistentVolumeClaim": {"claimName": "versions.of-all"},
    }  # fmt: skip


def test_without_a_claim_versions_are_fetched_first() -> None:
    pod = job(MANY, CLUSTER)["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["initContainers"]] == ["fetch"]
    content = json.loads(secret(MANY, CLUSTER)["stringData"]["delivery.json"])
    assert content["fetch"] == [{"kind": "dataset", "ref": "ds1:abc", "to": "team/d"}]
    assert content["cached"] is False


def test_a_workspace_is_laid_out_by_the_first_container() -> None:
    given = task(mounts=[Mount(path="/work", kind="workspace", ref="w1", mode="rw")])
    made = job(given, CLUSTER)
    pod = made["spec"]["template"]["spec"]
    (fetch,) = pod["initContainers"]
    assert fetch["volumeMounts"] == [
        {"name": "work", "mountPath": "/work"}, {"name": "tmp", "mountPath": "/tmp"}, DELIVERY_FILE,
    ]  # fmt: skip
    mounted = [m["mountPath"] for m in pod["containers"][0]["volumeMounts"]]
    assert sorted(mounted) == sorted(set(mounted))
    assert {"name": "work", "emptyDir": {}} in pod["volumes"]
    assert claims(given, CLUSTER) == []
    content = json.loads(secret(given, CLUSTER)["stringData"]["delivery.json"])
    assert (content["workspace"], content["fetch"]) == (True, [])
    kubernetes_validate.validate(made, "1.31", strict=True)


MOUNTED = task(
    delivery_token="of the machinery",
    mounts=[
        {"path": "/storage", "kind": "storage", "ref": "team", "mode": "rw"},
        {"path": "/datasets/raw", "kind": "bucket", "ref": "sp1/raw/2026"},
        {"path": "/inputs/out", "kind": "bucket", "ref": "sp1/out", "mode": "rw"},
    ],
)  # fmt: skip


def test_folders_of_buckets_are_copied_first_and_brought_back() -> None:
    limited = Cluster(SETTINGS.model_copy(update={"scratch_size": "1Gi"}), "http://hub")
    pod = job(MOUNTED, limited)["spec"]["template"]["spec"]
    (fetch,), (main, commit) = pod["initContainers"], pod["containers"]
    assert {"name": "buckets", "emptyDir": {}} in pod["volumes"]
    seen = [
        {c["name"]: [m for m in c["volumeMounts"] if m["name"] == "buckets"]}
        for c in (main, fetch, commit)
    ]
    whole = [{"name": "buckets", "mountPath": "/buckets"}]
    assert seen == [
        {
            "main": [
                {"name": "buckets", "mountPath": "/datasets/raw", "subPath": "1/data",
                 "readOnly": True},
                {"name": "buckets", "mountPath": "/inputs/out", "subPath": "2/data",
                 "readOnly": False},
            ]
        },
        {"fetch": whole},
        {"commit": whole},
    ]  # fmt: skip
    # Its lines come into the log before the command's.
    assert {"name": "shared", "mountPath": "/run/nablahub"} in fetch["volumeMounts"]
    assert commit["resources"]["limits"] == {"memory": "512Mi"}
    # When the pod is evicted there is time to bring back what changed.
    assert pod["terminationGracePeriodSeconds"] == 325
    texts = secret(MOUNTED, limited)["stringData"]
    content = json.loads(texts["delivery.json"])
    assert content["buckets"] == [
        {"mount": "datasets.raw", "at": "1", "read_only": True},
        {"mount": "inputs.out", "at": "2", "read_only": False},
    ]
    assert content["scratch"] == 1 << 30
    assert "sp1" not in json.dumps(texts)
    kubernetes_validate.validate(job(MOUNTED, limited), "1.31", strict=True)


def test_what_only_reads_buckets_has_nothing_to_bring_back() -> None:
    given = MOUNTED.model_copy(update={"mounts": MOUNTED.mounts[:2]})
    pod = job(given, CLUSTER)["spec"]["template"]["spec"]
    _, commit = pod["containers"]
    assert not [m for m in commit["volumeMounts"] if m["name"] == "buckets"]
    assert commit["resources"]["limits"] == {"memory": "128Mi"}
    assert pod["terminationGracePeriodSeconds"] == 25


SEVERAL = task(nodes=3, delivery_token="of the machinery", env={"NABLAHUB_TOKEN": "of the command"})


def test_several_nodes_are_a_job_of_numbered_pods_with_names() -> None:
    made = job(SEVERAL, CLUSTER)
    name = made["metadata"]["name"]
    spec = made["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert spec["template"]["spec"]["subdomain"] == name
    (service,) = neighbourhood(SEVERAL, CLUSTER, "uid-of-the-job")
    assert service["metadata"]["name"] == name
    assert service["metadata"]["ownerReferences"][0]["uid"] == "uid-of-the-job"
    assert service["spec"] == {
        "clusterIP": "None", "publishNotReadyAddresses": True,
        "selector": {"batch.kubernetes.io/job-name": name},
    }  # fmt: skip
    content = json.loads(secret(SEVERAL, CLUSTER)["stringData"]["task.json"])
    assert content["nodes"] == [f"{name}-{n}.{name}" for n in range(3)]
    assert neighbourhood(task(), CLUSTER, "uid") == []
    strict = Cluster(SETTINGS.model_copy(update={"network_policies": True}), "http://hub")
    for each in (made, *neighbourhood(SEVERAL, strict, "uid")):
        kubernetes_validate.validate(each, "1.31", strict=True)
    assert len(neighbourhood(SEVERAL, strict, "uid")) == 2


def test_the_command_sees_no_token_but_its_own() -> None:
    data = secret(SEVERAL, CLUSTER)["stringData"]
    assert "of the machinery" not in data["task.json"]
    assert "of the command" not in data["delivery.json"]
    pod = job(SEVERAL, CLUSTER)["spec"]["template"]["spec"]
    shown = {
        container["name"]: {m["subPath"] for m in container["volumeMounts"] if m["name"] == "task"}
        for container in pod["containers"]
    }
    assert shown == {"main": {"task.json"}, "commit": {"delivery.json"}}


def test_an_instance_type_says_on_which_nodes() -> None:
    pod = job(MANY, CLUSTER)["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"pool": "gpu"}
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["tolerations"] == [
        {"key": "gpu", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}
    ]
    assert pod["containers"][0]["resources"]["limits"] == {"amd.com/gpu": "1"}


def test_no_pod_gets_a_token_of_the_cluster() -> None:
    for cluster in (CLUSTER, CACHED):
        pod = job(MANY, cluster)["spec"]["template"]["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert not any("projected" in volume for volume in pod["volumes"])
        assert not any("hostPath" in volume for volume in pod["volumes"])


@given(st.lists(st.tuples(st.text(max_size=8), st.text(min_size=1, max_size=80)), unique=True))
def test_names_are_valid_and_each_its_own(pairs: list[tuple[str, str]]) -> None:
    names = [object_name(hub, TaskName(name)) for hub, name in pairs]
    assert len(set(names)) == len(pairs)
    for name in names:
        assert len(name) <= 52  # Kubernetes adds to the name of a Job
        assert name.strip("-") == name
        assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")


def test_a_volume_and_a_storage_of_one_name_are_two() -> None:
    kinds = [Mount(path="/a", kind=kind, ref="x") for kind in ("volume", "storage")]
    assert len({claim_name("lab", mount) for mount in kinds}) == 2


def test_servers_see_the_storage_of_jobs() -> None:
    mount = Mount(path="/storage", kind="storage", ref="te1234567", mode="rw")
    assert claim_name("lab", mount) == kubenames.storage("lab", "te1234567")


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(TaskRefused, match=r"\.\./evil"):
        check(task(files={"../evil": "x"}), SETTINGS)
    with pytest.raises(TaskRefused, match="1 MiB"):
        secret(task(files={"a": "x" * (1 << 20)}), CLUSTER)
    with pytest.raises(TaskRefused, match="torch"):
        check(task(environment="torch"), SETTINGS)
