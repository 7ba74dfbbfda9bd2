"""What tests of datasets share of a running hub."""

from __future__ import annotations

import pytest

from nablahub.core.extension import load
from nablahub.datasets.api import DatasetsAPI
from tests.support.service import RunningService

EXTENSIONS = [
    load(f"nablahub.{name}.extension:extension")
    for name in ("teams", "projects", "storage", "datasets")
]
FILES = {
    "a.csv": b"x,y\n1,2\n",
    "images/0.bin": bytes(range(256)),
    "images/1.bin": b"",
    "unicode/日本.txt": "日本".encode(),
    "big.bin": bytes(range(256)) * 8192,
    "page.html": b"<script>alert(1)</script>",
}


def api_of(service: RunningService, name: str = "alice") -> DatasetsAPI:
    return DatasetsAPI(service.transport(name))


def fresh(service: RunningService, request: pytest.FixtureRequest, more: str = "") -> str:
    name = (more + request.node.name.replace("/", ""))[:90]
    return api_of(service).create(name).id
