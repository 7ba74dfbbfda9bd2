"""Media types by name, the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub.core.media import media_type
from tests.support.service import RunningService, running
from tests.unit.datasets.builders import write
from tests.unit.datasets.hub import EXTENSIONS, api_of


@pytest.fixture
def service(tmp_path: Path) -> Iterator[RunningService]:
    with running(tmp_path / "state", EXTENSIONS) as found:
        yield found


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a/b/table.csv", "text/csv"),
        ("table.CSV", "text/csv"),
        ("table.csv.gz", "application/gzip"),
        ("code.tar.gz", "application/gzip"),
        ("code.tgz", "application/gzip"),
        ("x.parquet", "application/vnd.apache.parquet"),
        ("x.ipynb", "application/x-ipynb+json"),
        ("photo.of.me.jpeg", "image/jpeg"),
        ("http://host/x.png", "image/png"),
        ("data:text/html,x", "application/octet-stream"),
        ("README", "application/octet-stream"),
        (".gitignore", "application/octet-stream"),
        ("png", "application/octet-stream"),
        ("x.unknown", "application/octet-stream"),
    ],
)
def test_the_end_of_a_name_tells(path: str, kind: str) -> None:
    assert media_type(path) == kind


def test_listings_and_content_agree(service: RunningService, tmp_path: Path) -> None:
    api = api_of(service)
    api.create("media")
    api.upload("media", write(tmp_path / "tree", {"t.csv.gz": b"1", "sub/p.png": b"2"}))
    assert {f.path: f.type for f in api.files("media")} == {
        "t.csv.gz": "application/gzip",
        "sub/p.png": "image/png",
    }
    hub = service.transport()
    where = "/datasets/media/versions/latest"
    nodes = hub.get(f"{where}/tree")["items"]
    assert {n["path"]: n["type"] for n in nodes} == {"sub": None, "t.csv.gz": "application/gzip"}
    with hub.stream("GET", f"{where}/files/t.csv.gz") as answer:
        assert answer.headers["Content-Type"] == "application/gzip"
