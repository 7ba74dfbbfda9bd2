"""Fixtures of the chart's tests, which need helm and no cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helm.charts import assemble


@pytest.fixture(scope="session")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our chart with the stand-in as its dependency."""
    return assemble(tmp_path_factory.mktemp("chart"))
