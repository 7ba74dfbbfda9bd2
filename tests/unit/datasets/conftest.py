"""A hub with nothing but data, and a folder to put into it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import RunningService, running
from tests.support.stores import KINDS, settings_of
from tests.unit.datasets.builders import write
from tests.unit.datasets.hub import EXTENSIONS, FILES


@pytest.fixture(scope="module", params=KINDS)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningService]:
    settings = settings_of(request.param, request, tmp_path_factory.mktemp("keys"))
    with running(tmp_path_factory.mktemp("state"), EXTENSIONS, **settings) as found:
        yield found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path / "tree", FILES)
