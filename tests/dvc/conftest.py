"""A hub with nothing but data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from nablahub.core.extension import load
from tests.support.service import RunningService, running
from tests.support.stores import settings_of

EXTENSIONS = [
    load(f"nablahub.{name}.extension:extension")
    for name in ("teams", "projects", "storage", "datasets")
]


@pytest.fixture(scope="module", params=["directory", "s3"])
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    settings = settings_of(request.param, request, tmp_path_factory.mktemp("keys"))
    with running(tmp_path_factory.mktemp("state"), EXTENSIONS, **settings) as found:
        yield found
