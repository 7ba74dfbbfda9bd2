"""A hub with nothing but data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nablahub.core.extension import load
from tests.support.service import RunningService, running

EXTENSIONS = [
    load(f"nablahub.{name}.extension:extension") for name in ("teams", "projects", "datasets")
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state"), EXTENSIONS) as found:
        yield found
