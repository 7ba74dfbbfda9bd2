"""Pods, claims and secrets: compared whole, and against the schemas of Kubernetes' own API."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import kubernetes_validate
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nablahub.core import kubenames
from nablahub.core.instances import CATALOGUE, InstanceType, Toleration
from nablahub_spawner.kubernetes import objects
from nablahub_spawner.kubernetes.objects import Claim, Existing, Notebook, Owner, Place

#: The oldest version we promise, and the newest whose schemas are there.
VERSIONS = ("1.31", kubernetes_validate.latest_version())
OWNER = Owner("hub", "ada", "gpu")
POD = kubenames.server("hub", "ada", "gpu")
HUB = kubenames.unique_name("hub", "hub", readable="hub")
HOME = Claim("home-ada", "/home/ada", "10Gi", annotations={"hub.jupyter.org/username": "ada"})
STORAGE = Claim(
    "storage-1", "/storage", "50Gi", ("ReadWriteMany",), "nfs", {"nablahub.org/team": "1"}
)
NOTEBOOK = Notebook(
    image="registry/notebook:1",
    pull_secrets=("registry",),
    env={"B": "2", "A": {"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}},
    secret_env={"JUPYTERHUB_API_TOKEN": "secret"},
    env_secrets=("shared",),
    claims=(HOME, STORAGE),
    existing=(
        Existing("secret", "ssh", "/etc/ssh-keys"),
        Existing("claim", "cache", "/opt/nablahub/cache", sub_path="1"),
    ),
)
GPU = InstanceType(
    "A100x2", 24, 180, "A100", 2, 40,
    node_selector={"gpu": "a100"},
    tolerations=(Toleration("gpu", "Exists", effect="NoSchedule"),),
    runtime_class="nvidia",
)  # fmt: skip
PLACE = Place(
    labels={"app": "jupyterhub"},
    annotations={"note": "x"},
    pod_labels={"component": "singleuser-server"},
    node_selector={"pool": "users"},
    tolerations=({"key": "users", "operator": "Exists"},),
    cpu_request_share=0.5,
    volumes=({"name": "more", "emptyDir": {}},),
    volume_mounts=({"name": "more", "mountPath": "/more"},),
    init_containers=({"name": "first", "image": "registry/first:1"},),
    pod={"priorityClassName": "users"},
    container={"lifecycle": {"preStop": {"exec": {"command": ["true"]}}}},
)

METADATA = {
    "name": POD,
    "labels": {"app": "jupyterhub", "nablahub.org/hub": HUB, "nablahub.org/server": POD},
    "annotations": {
        "note": "x", "hub.jupyter.org/username": "ada", "hub.jupyter.org/servername": "gpu",
    },
}  # fmt: skip


def valid(found: dict[str, Any]) -> dict[str, Any]:
    for version in VERSIONS:
        kubernetes_validate.validate(found, version, strict=True)
    return found


def test_a_pod_whole() -> None:
    labels = {**METADATA["labels"], "component": "singleuser-server"}  # type: ignore[dict-item]
    assert valid(objects.pod(GPU, NOTEBOOK, OWNER, PLACE)) == {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {**METADATA, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "restartPolicy": "OnFailure",
            "securityContext": {
                "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "imagePullSecrets": [{"name": "registry"}],
            "nodeSelector": {"pool": "users", "gpu": "a100"},
            "tolerations": [
                {"key": "users", "operator": "Exists"},
                {"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},
            ],
            "runtimeClassName": "nvidia",
            "priorityClassName": "users",
            "initContainers": [{"name": "first", "image": "registry/first:1"}],
            "containers": [
                {
                    "name": "notebook",
                    "image": "registry/notebook:1",
                    "imagePullPolicy": "IfNotPresent",
                    "workingDir": "/home/ada",
                    "ports": [{"name": "notebook-port", "containerPort": 8888}],
                    "env": [
                        {"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
                        {"name": "B", "value": "2"},
                    ],
                    "envFrom": [{"secretRef": {"name": "shared"}}, {"secretRef": {"name": POD}}],
                    "resources": {
                        "requests": {"cpu": "12000m", "memory": "184320Mi", "nvidia.com/gpu": "2"},
                        "limits": {"cpu": "24", "memory": "184320Mi", "nvidia.com/gpu": "2"},
                    },
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "privileged": False,
                    },
                    "volumeMounts": [
                        {"name": "shm", "mountPath": "/dev/shm"},
                        {"name": "home-ada", "mountPath": "/home/ada"},
                        {"name": "storage-1", "mountPath": "/storage"},
                        {"name": "given-0", "mountPath": "/etc/ssh-keys", "readOnly": True},
                        {
                            "name": "given-1", "mountPath": "/opt/nablahub/cache",
                            "readOnly": True, "subPath": "1",
                        },
                        {"name": "more", "mountPath": "/more"},
                    ],
                    "lifecycle": {"preStop": {"exec": {"command": ["true"]}}},
                }
            ],
            "volumes": [
                {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "92160Mi"}},
                {"name": "home-ada", "persistentVolumeClaim": {"claimName": "home-ada"}},
                {"name": "storage-1", "persistentVolumeClaim": {"claimName": "storage-1"}},
                {"name": "given-0", "secret": {"secretName": "ssh"}},
                {"name": "given-1", "persistentVolumeClaim": {"claimName": "cache"}},
                {"name": "more", "emptyDir": {}},
            ],
        },
    }  # fmt: skip


def test_what_is_not_asked_for_is_not_there() -> None:
    pod = valid(objects.pod(CATALOGUE["C4"], Notebook("image"), Owner("hub", "ada"), Place()))
    spec = pod["spec"]
    missing = {
        "imagePullSecrets", "nodeSelector", "tolerations", "runtimeClassName", "initContainers"
    }  # fmt: skip
    assert not missing & set(spec)
    assert "command" not in spec["containers"][0]
    assert spec["containers"][0]["resources"] == {
        "requests": {"cpu": "2000m", "memory": "4096Mi"},
        "limits": {"cpu": "2", "memory": "4096Mi"},
    }


def test_a_claim_whole_bears_no_server() -> None:
    assert valid(objects.claim(STORAGE, "hub", PLACE)) == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": "storage-1",
            "labels": {
                "app": "jupyterhub", "nablahub.org/hub": HUB, "component": "singleuser-storage",
            },
            "annotations": {"note": "x", "nablahub.org/team": "1"},
        },
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "nfs",
            "resources": {"requests": {"storage": "50Gi"}},
        },
    }  # fmt: skip
    assert "storageClassName" not in valid(objects.claim(HOME, "hub", PLACE))["spec"]


def test_a_secret_whole_and_its_owner() -> None:
    assert valid(objects.secret(NOTEBOOK, OWNER, PLACE)) == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": METADATA,
        "type": "Opaque",
        "stringData": {"JUPYTERHUB_API_TOKEN": "secret"},
    }
    (owner,) = objects.owned_by(POD, "uid")["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("Pod", POD, "uid")


@pytest.mark.parametrize("kind", CATALOGUE.values(), ids=str)
def test_every_type_of_the_catalogue_makes_a_valid_pod(kind: InstanceType) -> None:
    container = valid(objects.pod(kind, NOTEBOOK, OWNER, PLACE))["spec"]["containers"][0]
    asked = container["resources"]["limits"].get(kind.gpu_resource)
    assert asked == (str(kind.gpus) if kind.gpus else None)


NAMES = st.text(min_size=1, max_size=40)


@settings(deadline=None, max_examples=30)  # the schemas are slow
@given(NAMES, NAMES, st.text(max_size=40))
def test_no_name_of_a_user_or_server_makes_an_object_that_the_api_refuses(
    hub: str, user: str, server: str
) -> None:
    owner = Owner(hub, user, server)
    label = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?"
    for found in (
        objects.pod(GPU, NOTEBOOK, owner, PLACE), objects.secret(NOTEBOOK, owner, PLACE)
    ):  # fmt: skip
        kubernetes_validate.validate(found, VERSIONS[-1], strict=True)
        assert all(re.fullmatch(label, value) for value in found["metadata"]["labels"].values())


def test_nothing_of_one_pod_is_left_in_the_next() -> None:
    before = objects.pod(CATALOGUE["C4"], NOTEBOOK, OWNER, PLACE)
    gpu = objects.pod(GPU, NOTEBOOK, OWNER, PLACE)
    gpu["spec"]["tolerations"].append("rubbish")
    gpu["spec"]["containers"][0]["volumeMounts"].clear()
    gpu["metadata"]["labels"]["rubbish"] = "x"
    assert objects.pod(CATALOGUE["C4"], NOTEBOOK, OWNER, PLACE) == before
    smaller = replace(GPU, gpus=1)
    assert objects.resources(smaller)["limits"]["nvidia.com/gpu"] == "1"


def test_a_folder_of_its_own_is_written_here_and_read_there() -> None:
    notebook = replace(NOTEBOOK, own={"/opt/nablahub/mounts": "/datasets"})
    spec = valid(objects.pod(GPU, notebook, OWNER, PLACE))["spec"]
    assert [v for v in spec["volumes"] if v["name"] == "own-0"] == [
        {"name": "own-0", "emptyDir": {}}
    ]
    assert [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "own-0"] == [
        {"name": "own-0", "mountPath": "/opt/nablahub/mounts"},
        {"name": "own-0", "mountPath": "/datasets", "readOnly": True},
    ]
