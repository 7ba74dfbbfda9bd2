"""Fixtures that several rooms of the tests share."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis
import pytest

from tests.support import hub as support
from tests.support.s3 import SeaweedFS, seaweedfs

# How long an example takes says how busy the machine is.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[support.RunningHub]:
    """The real hub, Traefik and service with the users alice, bob and carol; once per run."""
    with support.running(tmp_path_factory.mktemp("hub") / "its state") as running:
        yield running


@pytest.fixture(scope="session")
def s3() -> Iterator[SeaweedFS]:
    """A real S3; once per run. Tests take buckets of their own."""
    with seaweedfs() as running:
        yield running
