"""What the runner does in its namespace, so what the hub's account must be allowed there."""

from __future__ import annotations

from typing import Final

#: Verbs by the group and the plural name of what they are done to.
RIGHTS: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("batch", "jobs"): ("get", "list", "watch", "create", "delete"),
    ("", "pods"): ("list", "watch", "patch", "delete"),
    ("", "events"): ("list", "watch"),
    ("", "secrets"): ("list", "create", "delete"),
    ("", "persistentvolumeclaims"): ("get", "list", "create", "delete"),
    ("apps", "deployments"): ("get", "list", "watch", "create", "patch", "delete"),
    ("", "services"): ("get", "list", "create", "delete"),
    ("autoscaling", "horizontalpodautoscalers"): ("list", "create", "patch", "delete"),
    ("policy", "poddisruptionbudgets"): ("list", "create", "delete"),
}
#: Where NetworkPolicies keep the pods of jobs apart.
APART: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("networking.k8s.io", "networkpolicies"): ("create",),
}
#: The same where Seldon Core's operator makes the servers.
SELDON: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("machinelearning.seldon.io", "seldondeployments"): (
        "get", "list", "watch", "create", "patch", "delete",
    ),
}  # fmt: skip
