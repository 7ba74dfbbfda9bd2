"""What clusters were seen to say when they made no pod."""

from __future__ import annotations

import pytest

from nablahub.jobs.runners.kubernetes.refusals import refusal

FORBIDDEN = 'Error creating: pods "task-j1-" is forbidden: '


@pytest.mark.parametrize(
    ("said", "never", "words"),
    [
        (
            "exceeded quota: tight, requested: pods=1, used: pods=2, limited: pods=2",
            False, "The quota 'tight' is used up: pods 2 of 2 taken, 1 more needed.",
        ),
        (
            "exceeded quota: gpus, requested: requests.cpu=500m,requests.nvidia.com/gpu=8, "
            "used: requests.cpu=1,requests.nvidia.com/gpu=0, "
            "limited: requests.cpu=1,requests.nvidia.com/gpu=4",
            True, "never fit into the quota 'gpus': it asks for requests.nvidia.com/gpu 8 of 4.",
        ),
        (
            "maximum memory usage per Container is 1Gi, but limit is 4Gi",
            True, "The limits of the namespace do not allow it",
        ),
        ("failed quota: tight: must specify limits.cpu for: commit", True, "LimitRange"),
        ('violates PodSecurity "restricted:latest"', True, "Pod Security level"),
        ('serviceaccount "nobody" not found', False, "does not make its pod yet"),
    ],
)  # fmt: skip
def test_what_it_means(said: str, never: bool, words: str) -> None:
    found = refusal(FORBIDDEN + said)
    assert found.never is never
    assert words in found.words
