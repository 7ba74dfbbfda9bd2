"""What a cluster's refusal means for who wants to run work on it."""

from __future__ import annotations

from nablahub.core.instances import CATALOGUE
from nablahub.core.kubernetes import KubernetesSettings
from nablahub.core.nodes import Node
from nablahub.jobs.runners.kubernetes.api import ApiError
from nablahub_hub.local.clusters import too_small
from nablahub_hub.local.reach import refusal


def test_a_namespace_that_is_not_there_can_be_made() -> None:
    found = refusal(ApiError(404, 'namespaces "ml" not found'), "ml")
    assert found.detail == "The cluster has no namespace ml."
    assert "`kubectl create namespace ml` makes it" in found.hint


def test_every_other_refusal_is_told_in_the_clusters_words_with_a_way_on() -> None:
    found = refusal(ApiError(403, "exceeded quota: few"), "ml")
    assert found.detail == "The cluster refuses to be used: exceeded quota: few"
    assert "kubectl --namespace ml" in found.hint


def test_nodes_on_which_no_job_of_the_default_fits_are_told_of() -> None:
    status = {"allocatable": {"cpu": "2", "memory": "8Gi"}}
    nodes = [Node.of({"metadata": {"name": "n"}, "status": status})]
    said = too_small(CATALOGUE["C4"], KubernetesSettings(), nodes)
    assert said is not None
    assert "no node can ever run a job of C4, the default. Needs 2 CPUs and a little more" in said
    assert 'c.NablaHub.kubernetes["cpu_request"]' in said
    assert too_small(CATALOGUE["C4"], KubernetesSettings(cpu_request=0.5), nodes) is None
