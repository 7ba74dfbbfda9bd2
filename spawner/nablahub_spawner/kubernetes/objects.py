"""Kubernetes objects of a single-user server, as pure functions from what it is.

Each returns the object as the API takes it (JSON), whole: what a pod is depends on nothing but the
arguments, so nothing of one start can be left over in the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nablahub.core import kubenames
from nablahub.core.instances import GIB, InstanceType, Toleration

Json = dict[str, Any]

CONTAINER = "notebook"
PORT = "notebook-port"  # by this name KubeSpawner looks for a pod's address
STORAGE = "/storage"
#: Annotation of a team's claim: the team's id.
TEAM = "nablahub.org/team"
TEAMS = "/teams"
#: Group and user that the image's files and the claims belong to.
UID = 1000
#: Share of a pod's memory that /dev/shm may take; PyTorch's loaders need far more than 64 MiB.
SHARED_MEMORY = 0.5
_MIB = 1024**2


@dataclass(frozen=True)
class Owner:
    """Whose server it is.

    Parameters
    ----------
    hub : str
        Name of the hub, for hubs that share a namespace.
    user : str
        The hub user.
    server : str
        The server's name; empty for the default one.
    """

    hub: str
    user: str
    server: str = ""

    @property
    def name(self) -> str:
        """Name of the pod and of its secret."""
        return kubenames.server(self.hub, self.user, self.server)

    @property
    def home_inside(self) -> str:
        """The home as the server sees it."""
        return f"/home/{kubenames.folder(self.user)}"


@dataclass(frozen=True)
class Claim:
    """A volume claim, made when it is not there yet.

    Parameters
    ----------
    name : str
        Its name in the namespace.
    path : str
        Where the server sees it.
    size : str
        Kubernetes quantity, such as ``10Gi``.
    access_modes : tuple of str
        As Kubernetes writes them; ``ReadWriteMany`` for what several nodes use at once.
    storage_class : str or None
        None for the cluster's default.
    annotations : mapping of str to str
        Whose it is, for people: a claim outlives every server.
    """

    name: str
    path: str
    size: str
    access_modes: tuple[str, ...] = ("ReadWriteOnce",)
    storage_class: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Existing:
    """A part of a claim or secret that is there already, shown read-only.

    Parameters
    ----------
    kind : str
        ``claim`` or ``secret``.
    name : str
        Its name in the namespace.
    path : str
        Where the server sees it.
    sub_path : str
        Folder of the claim that is shown; empty for all of it.
    """

    kind: str
    name: str
    path: str
    sub_path: str = ""


@dataclass(frozen=True)
class Notebook:
    """What runs in a pod.

    Parameters
    ----------
    image, pull_policy : str
        The container's image, and when it is pulled.
    pull_secrets : tuple of str
        Names of secrets of the image's registry.
    command : tuple of str
        Empty for the image's own.
    port : int
        Where the server listens.
    env : mapping of str to str or dict
        What anybody may see who can read the namespace's pods; a dict as Kubernetes writes it
        (``{"valueFrom": …}``).
    secret_env : mapping of str to str
        Variables that lie in a secret of the pod's own.
    env_secrets : tuple of str
        Names of secrets whose keys become variables.
    claims : tuple of Claim
        Its home first.
    existing : tuple of Existing
        The dataset cache, mounted secrets.
    own : mapping of str to str
        Folders that live as long as the pod: where they may be written, and where the same folder
        is shown read-only.
    """

    image: str
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    port: int = 8888
    env: Mapping[str, str | Json] = field(default_factory=dict)
    secret_env: Mapping[str, str] = field(default_factory=dict)
    env_secrets: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()
    existing: tuple[Existing, ...] = ()
    own: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """What an administrator says of all pods of a hub.

    Parameters
    ----------
    labels, annotations : mapping of str to str
        Put on every object.
    pod_labels : mapping of str to str
        Put on pods besides: what KubeSpawner and NetworkPolicies find them by.
    node_selector : mapping of str to str
        Labels of the nodes that all pods go to, beside those of the instance type.
    tolerations : tuple of dict
        Taints that all pods put up with, as Kubernetes writes them.
    cpu_request_share : float
        How much of its CPUs a pod is promised: below 1, nodes are shared by more servers.
    volumes, volume_mounts, init_containers : tuple of dict
        More of each, as Kubernetes writes them.
    pod, container : mapping
        Put over the pod's ``spec`` and its container at the end, key by key.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    node_selector: Mapping[str, str] = field(default_factory=dict)
    tolerations: tuple[Json, ...] = ()
    cpu_request_share: float = 1.0
    volumes: tuple[Json, ...] = ()
    volume_mounts: tuple[Json, ...] = ()
    init_containers: tuple[Json, ...] = ()
    pod: Mapping[str, Any] = field(default_factory=dict)
    container: Mapping[str, Any] = field(default_factory=dict)


def pod(instance: InstanceType, notebook: Notebook, owner: Owner, place: Place) -> Json:
    """Return the pod of a server."""
    own, mounts = _volumes(instance, notebook)
    container: Json = {
        "name": CONTAINER,
        "image": notebook.image,
        "imagePullPolicy": notebook.pull_policy,
        "workingDir": owner.home_inside,
        "ports": [{"name": PORT, "containerPort": notebook.port}],
        "env": [_variable(name, value) for name, value in sorted(notebook.env.items())],
        "envFrom": [{"secretRef": {"name": name}} for name in (*notebook.env_secrets, owner.name)],
        "resources": resources(instance, place.cpu_request_share),
        "volumeMounts": [*mounts, *place.volume_mounts],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "privileged": False,
        },
        **({"command": list(notebook.command)} if notebook.command else {}),
        **place.container,
    }
    tolerations = [*place.tolerations, *(toleration(t) for t in instance.tolerations)]
    selector = {**place.node_selector, **instance.node_selector}
    spec: Json = {
        # Nobody's server has business with the cluster's API.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "OnFailure",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": UID,
            "runAsGroup": UID,
            "fsGroup": UID,
            "fsGroupChangePolicy": "OnRootMismatch",  # else each start walks the whole home
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
        "volumes": [*own, *place.volumes],
        **({"initContainers": list(place.init_containers)} if place.init_containers else {}),
        **({"imagePullSecrets": _names(notebook.pull_secrets)} if notebook.pull_secrets else {}),
        **({"nodeSelector": selector} if selector else {}),
        **({"tolerations": tolerations} if tolerations else {}),
        **({"runtimeClassName": instance.runtime_class} if instance.runtime_class else {}),
        **place.pod,
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _of_server(owner, place, place.pod_labels),
        "spec": spec,
    }


def resources(instance: InstanceType, cpu_request_share: float = 1.0) -> Json:
    """Return what a container of an instance type is promised, and may use at most.

    Memory is promised whole: a node that gave it away twice would kill somebody's kernel.
    """
    memory = f"{round(instance.memory_gib * GIB / _MIB)}Mi"
    limits = {"cpu": str(instance.cpus), "memory": memory}
    requests = {"cpu": f"{round(instance.cpus * cpu_request_share * 1000)}m", "memory": memory}
    if instance.gpus:
        limits[instance.gpu_resource] = requests[instance.gpu_resource] = str(instance.gpus)
    return {"requests": requests, "limits": limits}


def toleration(given: Toleration) -> Json:
    """Return a toleration as Kubernetes writes it."""
    found = {
        "key": given.key,
        "operator": given.operator,
        "value": given.value,
        "effect": given.effect,
        "tolerationSeconds": given.seconds,
    }
    return {name: value for name, value in found.items() if value is not None}


def claim(wanted: Claim, hub: str, place: Place) -> Json:
    """Return the claim of a volume of a hub."""
    spec: Json = {
        "accessModes": list(wanted.access_modes),
        "resources": {"requests": {"storage": wanted.size}},
    }
    if wanted.storage_class is not None:
        spec["storageClassName"] = wanted.storage_class
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": wanted.name,
            "labels": {**place.labels, **_hub_label(hub), "component": "singleuser-storage"},
            "annotations": {**place.annotations, **wanted.annotations},
        },
        "spec": spec,
    }


def secret(notebook: Notebook, owner: Owner, place: Place) -> Json:
    """Return the secret with a server's tokens."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _of_server(owner, place),
        "type": "Opaque",
        "stringData": dict(sorted(notebook.secret_env.items())),
    }


def owned_by(pod_name: str, uid: str) -> Json:
    """Return the patch by which the cluster removes an object with a pod."""
    reference = {
        "apiVersion": "v1",
        "kind": "Pod",
        "name": pod_name,
        "uid": uid,
        "blockOwnerDeletion": False,
        "controller": False,
    }
    return {"metadata": {"ownerReferences": [reference]}}


def _of_server(owner: Owner, place: Place, labels: Mapping[str, str] | None = None) -> Json:
    return {
        "name": owner.name,
        "labels": {
            **place.labels,
            **(labels or {}),
            # What is unique, not what is readable: these are looked for.
            **_hub_label(owner.hub),
            "nablahub.org/server": owner.name,
        },
        "annotations": {
            **place.annotations,
            "hub.jupyter.org/username": owner.user,
            "hub.jupyter.org/servername": owner.server,
        },
    }


def _hub_label(hub: str) -> dict[str, str]:
    return {kubenames.HUB_LABEL: kubenames.unique_name("hub", hub, readable=hub)}


def _variable(name: str, value: str | Json) -> Json:
    return {"name": name, **(value if isinstance(value, dict) else {"value": value})}


def _volumes(instance: InstanceType, notebook: Notebook) -> tuple[list[Json], list[Json]]:
    """Return a pod's volumes, and where its container sees them."""
    shared = f"{round(instance.memory_gib * GIB * SHARED_MEMORY / _MIB)}Mi"
    volumes: list[Json] = [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shared}}]
    mounts: list[Json] = [{"name": "shm", "mountPath": "/dev/shm"}]
    for wanted in notebook.claims:
        source = {"persistentVolumeClaim": {"claimName": wanted.name}}
        volumes.append({"name": wanted.name, **source})
        mounts.append({"name": wanted.name, "mountPath": wanted.path})
    # Each once: a kubelet waits for ever for the second volume of the same claim.
    given: dict[str, str] = {}
    for shown in notebook.existing:
        what = f"{shown.kind} {shown.name}"
        if what not in given:
            given[what] = f"given-{len(given)}"
            if shown.kind == "secret":
                found: Json = {"secret": {"secretName": shown.name}}
            else:
                found = {"persistentVolumeClaim": {"claimName": shown.name}}
            volumes.append({"name": given[what], **found})
        name = given[what]
        mount: Json = {"name": name, "mountPath": shown.path, "readOnly": True}
        mounts.append({**mount, "subPath": shown.sub_path} if shown.sub_path else mount)
    for number, (path, shown_at) in enumerate(sorted(notebook.own.items())):
        name = f"own-{number}"
        volumes.append({"name": name, "emptyDir": {}})
        mounts.append({"name": name, "mountPath": path})
        mounts.append({"name": name, "mountPath": shown_at, "readOnly": True})
    return volumes, mounts


def _names(found: Sequence[str]) -> list[Json]:
    return [{"name": name} for name in found]
