"""What the service is told about the cluster that jobs run on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError


class KubernetesSettings(BaseModel):
    """Where and how jobs run as pods; used when ``runner`` is ``kubernetes``.

    Sizes are quantities as Kubernetes writes them, such as ``10Gi``
    (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kubeconfig: Path | None = Field(
        default=None, description="Default: the service account of the pod that the hub runs in"
    )
    namespace: str = Field(default="default", description="Where the pods of jobs are made")
    hub: str = Field(
        default="nablahub",
        description="Label of this hub's objects, and part of the names of its claims: hubs of one "
        "namespace need different ones",
        pattern=r"^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$",
    )
    service_url: str | None = Field(
        default=None,
        description="How pods reach the service, such as http://hub:8081/services/nablahub; "
        "default: the service's own address",
    )
    image: str = Field(
        default="localhost/nablahub-runner:test", description="What jobs run in by default"
    )
    images: dict[str, str] = Field(
        default_factory=dict, description="Images of further environments, by their names"
    )
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = Field(
        default="IfNotPresent", description="When nodes pull images"
    )
    pull_secrets: tuple[str, ...] = Field(
        default=(), description="Names of Secrets by which images are pulled"
    )
    service_account: str | None = Field(
        default=None, description="Of the pods; none of them gets its token"
    )
    storage_class: str | None = Field(
        default=None, description="Of the claims of volumes and storage; default: the cluster's"
    )
    access_mode: Literal["ReadWriteOnce", "ReadWriteMany"] = Field(
        default="ReadWriteOnce", description="ReadWriteMany where the storage class has it"
    )
    volume_size: str = Field(default="10Gi", description="Of a volume that steps hand on")
    storage_size: str = Field(default="50Gi", description="Of a team's storage")
    cache_claim: str | None = Field(
        default=None,
        description="A claim in which jobs lay the dataset and model versions that they read, once "
        "for all; pods see them read-only. Without it each pod downloads what it reads",
    )
    cache_size: str = Field(
        default="100Gi", description="Of that claim, which is made when there is none of its name"
    )
    cpu_request: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of a job's CPUs that is kept free for it; below 1, nodes are overbooked",
    )
    autoscaled: bool = Field(
        default=False,
        description="Nodes are added when pods wait for them: a job that none of now can ever run "
        "waits instead of being ended",
    )
    scratch_size: str | None = Field(
        default=None,
        description="How much a job may write on its node's disk: everything that is neither "
        "storage nor a volume. A job that takes more is ended",
    )
    network_policies: bool = Field(
        default=False,
        description="Whether NetworkPolicies keep the pods of jobs apart; then those of one job of "
        "several nodes get one that lets them reach each other",
    )
    stuck_seconds: float = Field(
        default=120, gt=0, description="How long a pod may fail to end once its command has ended"
    )


def beside(given: Mapping[str, Any]) -> KubernetesSettings:
    """Return the settings of a hub that runs beside its cluster, not in it.

    What is not given is as kubectl finds it: the file that ``KUBECONFIG`` names, else
    ``~/.kube/config``, and the namespace of the context that is current there
    (https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/).

    Parameters
    ----------
    given : mapping
        Fields of `KubernetesSettings`.
    """
    found = dict(given)
    named = found.get("kubeconfig") or os.environ.get("KUBECONFIG") or "~/.kube/config"
    # Of several files in KUBECONFIG the first one's context counts.
    path = Path(str(named).split(os.pathsep)[0]).expanduser().absolute()
    found["kubeconfig"] = path
    found.setdefault("namespace", _namespace(path))
    return KubernetesSettings.model_validate(found)


def _namespace(path: Path) -> str:
    try:
        content = YAML(typ="safe").load(path)
        current = content.get("current-context")
        context = next(c["context"] for c in content["contexts"] if c["name"] == current)
        return str(context.get("namespace") or "default")
    except (OSError, YAMLError, AttributeError, TypeError, KeyError, StopIteration):
        return "default"  # whoever uses the file says what is wrong with it
