"""Settings of the Kubernetes spawner, beside those of KubeSpawner that it reads."""

from __future__ import annotations

from typing import Any, Final

from traitlets import Bool, Dict, Float, List, Unicode, default
from traitlets.config import Configurable

#: Settings by which KubeSpawner shapes pods, and that have no effect on ours.
NOT_READ = frozenset(
    {
        "after_pod_created_hook", "allow_privilege_escalation",
        "automount_service_account_token", "container_security_context", "cpu_guarantee",
        "cpu_limit", "enable_user_namespaces", "extra_containers", "extra_resource_guarantees",
        "extra_resource_limits", "fs_gid", "gid", "lifecycle_hooks", "mem_guarantee", "mem_limit",
        "modify_pod_hook", "node_affinity_preferred", "node_affinity_required",
        "pod_affinity_preferred", "pod_affinity_required", "pod_anti_affinity_preferred",
        "pod_anti_affinity_required", "pod_name_template", "pod_security_context",
        "priority_class_name", "privileged", "profile_list", "pvc_name_template",
        "scheduler_name", "service_account", "services_enabled", "storage_extra_annotations",
        "storage_extra_labels", "storage_pvc_ensure", "storage_selector", "supplemental_gids",
        "uid", "working_dir",
    }
)  # fmt: skip

#: What the hub's account must be allowed in the servers' namespace: verbs by group and name.
RIGHTS: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("", "pods"): ("get", "list", "watch", "create", "delete"),
    ("", "secrets"): ("get", "list", "watch", "create", "delete", "patch"),
    ("", "persistentvolumeclaims"): ("get", "list", "watch", "create", "delete"),
    ("", "events"): ("get", "list", "watch"),
}


class PodSettings(Configurable):
    """What an administrator may say of pods beside what KubeSpawner lets them say."""

    hub_name = Unicode(
        "nablahub",
        config=True,
        help="""
        Tells this hub's pods and claims from those of another hub in the namespace. It is part of
        their names: changing it later leaves homes behind.
        """,
    )
    pod_service_url = Unicode(
        config=True,
        help="""
        Where pods reach the hub service, with its prefix, such as
        ``http://nablahub:8090/services/nablahub``; empty: where the hub reaches it.
        """,
    )
    home_per_server = Bool(
        False,
        config=True,
        help="Give each named server a home of its own, instead of one home for each user.",
    )
    team_storage_capacity = Unicode(
        "50Gi", config=True, help="Size of a team's storage, as a Kubernetes quantity."
    )
    team_storage_class = Unicode(
        None,
        allow_none=True,
        config=True,
        help="Storage class of the teams' storage; None for the cluster's default.",
    )
    team_storage_access_modes = List(
        Unicode(),
        ["ReadWriteMany"],
        config=True,
        help="""
        Access modes of the teams' storage. Servers and jobs on several nodes share it, which needs
        ``ReadWriteMany``; a cluster of one node may use ``ReadWriteOnce``.
        """,
    )
    dataset_cache_claim = Unicode(
        config=True,
        help="""
        Name of the volume claim into which jobs fetch the dataset versions that they read
        (``cache_claim`` of the jobs' settings). A server sees those of its user's teams,
        read-only, and mounts what it wants in ``/datasets``; it is made when there is none of that
        name. Empty: none.
        """,
    )
    dataset_cache_capacity = Unicode(
        "100Gi", config=True, help="Size of that claim, as a Kubernetes quantity."
    )
    env_secrets = List(
        Unicode(),
        config=True,
        help="Names of Kubernetes secrets whose keys become variables of each server.",
    )
    mounted_secrets = Dict(
        key_trait=Unicode(),
        value_trait=Unicode(),
        config=True,
        help="Kubernetes secrets by name, and the folder at which each server sees its keys.",
    )
    cpu_request_share = Float(
        1.0,
        min=0.01,
        max=1.0,
        config=True,
        help="""
        How much of an instance type's CPUs is promised to a server; the rest it gets while nobody
        else wants it. Nodes have a little less than whole CPUs for pods: with 1, a type of as many
        CPUs as a node has never fits there.
        """,
    )
    autoscaled = Bool(
        False,
        config=True,
        help="""
        Nodes are added when pods wait for them: a type that no node can give now waits instead of
        being refused.
        """,
    )

    @default("delete_pvc")
    def _keep_homes(self) -> bool:
        # Deleting a user, or a server, deletes no data.
        return False

    @default("image")
    def _our_image(self) -> str:
        return "localhost/nablahub-notebook:test"

    @default("storage_capacity")
    def _home_size(self) -> str:
        return "10Gi"

    @default("start_timeout")
    def _patient(self) -> int:
        # What can never start fails in seconds; the rest waits for images and free nodes.
        return 1800

    @default("http_timeout")
    def _answers_soon(self) -> int:
        # By then the server has answered the spawner already.
        return 60

    def unread(self) -> list[str]:
        """Return the names of settings of KubeSpawner that were given and have no effect here."""
        sections = ("KubeSpawner", type(self).__name__)
        given = set[Any]().union(*(self.config.get(section, {}) for section in sections))
        return sorted(given & NOT_READ)
