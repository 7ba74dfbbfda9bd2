"""What a cluster's refusal means for who wants to run work on it."""

from __future__ import annotations

from nablahub.jobs.runners.kubernetes.api import ApiError
from nablahub_hub.local.reach import refusal


def test_a_namespace_that_is_not_there_can_be_made() -> None:
    found = refusal(ApiError(404, 'namespaces "ml" not found'), "ml")
    assert found.detail == "The cluster has no namespace ml."
    assert "`kubectl create namespace ml` makes it" in found.hint


def test_every_other_refusal_is_told_in_the_clusters_words_with_a_way_on() -> None:
    found = refusal(ApiError(403, "exceeded quota: few"), "ml")
    assert found.detail == "The cluster refuses to be used: exceeded quota: few"
    assert "kubectl --namespace ml" in found.hint
