"""Public datasets: offered with licence and source, fetched once, and proved."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nablahub.core.archives import BadArchive
from nablahub.core.outbound import BadAddress
from nablahub.datasets.catalog.api import CatalogAPI
from nablahub.datasets.catalog.errors import BadCatalog, NoSuchEntry, SourceAway, WrongChecksum
from nablahub.datasets.catalog.reading import bundled, parse, shipped
from nablahub.datasets.cli import datasets
from nablahub.datasets.errors import NameTaken, NoSuchDataset
from tests.support.service import RunningService, running
from tests.unit.datasets.hub import EXTENSIONS, api_of


class Source:
    """A web server whose files may be changed while it runs."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                if self.path == "/away":
                    self.send_response(302)
                    self.send_header("Location", "http://127.0.0.1:1/x")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data = outer.files.get(self.path)
                self.send_response(404 if data is None else 200)
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                self.wfile.write(data or b"")

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def source() -> Iterator[Source]:
    made = Source()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    root = tmp_path_factory.mktemp("state")
    with running(root, EXTENSIONS, allow_private_addresses=True) as found:
        yield found


@pytest.fixture
def catalog(service: RunningService) -> CatalogAPI:
    return CatalogAPI(service.transport())


def typed(service: RunningService, *words: str) -> Result:
    env = {"NABLAHUB_URL": service.url, "NABLAHUB_TOKEN": "token-of-alice"}
    return CliRunner().invoke(datasets, ["catalog", *words], env=env)


def offer(service: RunningService, name: str, *files: dict[str, Any]) -> None:
    """Write an administrator's file of one entry."""
    entry = {
        "title": "Theirs", "licence": "CC0-1.0", "source": "https://example.org/about",
        "files": list(files),
    }  # fmt: skip
    path = service.settings.dataset_catalog
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"datasets": {name: entry}}))
    new.replace(path)


def file(url: str, data: bytes, **fields: Any) -> dict[str, Any]:
    return {"url": url, "sha256": hashlib.sha256(data).hexdigest(), **fields}


@pytest.mark.parametrize(
    ("name", "rows", "columns"),
    [
        ("iris", 150, 5), ("wine", 178, 14), ("breast-cancer", 569, 31), ("digits", 1797, 65),
        ("diabetes", 442, 11), ("linnerud", 20, 6),
    ],
)  # fmt: skip
def test_what_ships_needs_no_network(
    catalog: CatalogAPI, service: RunningService, name: str, rows: int, columns: int
) -> None:
    made = catalog.add(name)
    assert (made.dataset_name, made.files, made.source) == (name, 1, f"catalog:{name}")
    table = list(csv.reader(api_of(service).read(name, f"{name}.csv").decode().splitlines()))
    assert (len(table) - 1, {len(row) for row in table}) == (rows, {columns})
    entry = catalog.get(name)
    assert entry.offline
    told = api_of(service).get(name).description
    assert entry.licence in told
    assert entry.source in told
    assert catalog.add(name).id == made.id


def test_the_shipped_tables_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits, load_iris

    for name, made in (("iris", load_iris()), ("digits", load_digits())):
        rows = list(csv.reader(io.StringIO(bundled(f"{name}.csv").decode())))[1:]
        assert [[float(v) for v in row[:-1]] for row in rows] == made.data.tolist()


def test_every_shipped_entry_is_whole() -> None:
    for name, entry in shipped().items():
        assert entry.files, name
        for each in entry.files:
            if each.bundled is not None:
                assert hashlib.sha256(bundled(each.bundled)).hexdigest() == each.sha256
            else:
                assert (each.url or "").startswith("https://")
                assert entry.checked_by


def test_list_show_add_as_typed(service: RunningService) -> None:
    listed = typed(service, "list").stdout
    assert "iris" in listed
    assert "CC-BY-4.0" in listed
    shown = typed(service, "show", "mnist").stdout
    assert "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1" in shown
    made = json.loads(typed(service, "add", "iris", "--as", "flowers", "--json").stdout)
    assert made["dataset_name"] == "flowers"
    again = json.loads(typed(service, "add", "iris", "--as", "flowers", "--json").stdout)
    assert again["id"] == made["id"]
    wrong = typed(service, "add", "irris")
    assert (wrong.exit_code, "Did you mean 'iris'?" in wrong.stderr) == (1, True)


def test_another_dataset_of_the_name_is_left_alone(
    catalog: CatalogAPI, service: RunningService, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    api_of(service).create("taken")
    api_of(service).upload("taken", tmp_path / "mine.txt")
    with pytest.raises(NameTaken):
        catalog.add("iris", dataset="taken")
    assert [f.path for f in api_of(service).files("taken")] == ["mine.txt"]


def packed(**files: bytes) -> bytes:
    made = io.BytesIO()
    with tarfile.open(mode="w:gz", fileobj=made) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name.replace("_", "/"))
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return made.getvalue()


def test_an_administrators_entry_is_fetched_proved_and_unpacked_once(
    catalog: CatalogAPI, service: RunningService, source: Source
) -> None:
    table, archive = b"x,y\n1,2\n", packed(sub_a=b"1", b=b"2")
    source.files = {"/t.csv": table, "/more.tgz": archive}
    offer(
        service, "theirs", file(f"{source.url}/t.csv", table, path="tables/t.csv"),
        file(f"{source.url}/more.tgz", archive, unpack=True),
    )  # fmt: skip
    made = catalog.add("theirs")
    files = {f.path: api_of(service).read("theirs", f.path) for f in api_of(service).files(made.id)}
    assert files == {"tables/t.csv": table, "sub/a": b"1", "b": b"2"}
    source.asked.clear()
    assert catalog.add("theirs").id == made.id
    assert source.asked == []
    assert "iris" in {entry.name for entry in catalog.list().items}
    source.files["/t.csv"] = b"x,y\n3,4\n"
    new = file(f"{source.url}/t.csv", b"x,y\n3,4\n")
    offer(service, "theirs", new)
    later = catalog.add("theirs")
    assert (later.number, later.dataset_id) == (2, made.dataset_id)


def test_wrong_bytes_are_not_kept(
    catalog: CatalogAPI, service: RunningService, source: Source
) -> None:
    source.files = {"/x.csv": b"others", "/x.tgz": packed(**{".._evil": b"1"})}
    offer(service, "wrong", file(f"{source.url}/x.csv", b"as promised"))
    with pytest.raises(WrongChecksum, match=hashlib.sha256(b"others").hexdigest()):
        catalog.add("wrong")
    offer(service, "wrong", file(f"{source.url}/nothing", b""))
    with pytest.raises(SourceAway, match="answers 404"):
        catalog.add("wrong")
    offer(service, "wrong", file("http://127.0.0.1:1/x", b""))
    with pytest.raises(SourceAway, match="can't be fetched"):
        catalog.add("wrong")
    offer(service, "wrong", file(f"{source.url}/x.tgz", source.files["/x.tgz"], unpack=True))
    with pytest.raises(BadArchive, match="evil"):
        catalog.add("wrong")
    assert list(api_of(service).versions("wrong")) == []
    assert list(service.settings.state.objects.glob(".catalog-*")) == []


def test_a_private_address_is_not_asked(tmp_path: Path, source: Source) -> None:
    with running(tmp_path / "state", EXTENSIONS) as service:
        source.asked.clear()
        offer(service, "inner", file(f"{source.url}/t.csv", b""))
        with pytest.raises(BadAddress, match="not a public address"):
            CatalogAPI(service.transport()).add("inner")
        assert source.asked == []


def test_a_broken_file_leaves_what_was_and_tells_administrators(
    catalog: CatalogAPI, service: RunningService
) -> None:
    offer(service, "before", file("https://example.org/a.csv", b""))
    assert "before" in {entry.name for entry in catalog.list().items}
    service.settings.dataset_catalog.write_text("datasets:\n  x: {title: 1\n")
    assert "before" in {entry.name for entry in catalog.list().items}
    assert catalog.list().warning is None
    service.fake.add("root", admin=True)
    told = CatalogAPI(service.transport("root")).list().warning
    assert told is not None
    assert "line" in told
    service.settings.dataset_catalog.unlink()
    with pytest.raises(NoSuchEntry):
        catalog.get("before")


def test_who_may_not_read_it_does_not_see_it(catalog: CatalogAPI, service: RunningService) -> None:
    made = catalog.add("iris", dataset="hidden")
    with pytest.raises(NoSuchDataset):
        api_of(service, "bob").version(made.id)


GOOD = "title: T\n    licence: L\n    source: https://e.org\n"
SUM = "0" * 64


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("datasets:\n  a:\n    titel: T\n", 3, "titel"),
        ("datasets:\n  A!: null\n", 2, "small letters"),
        (f"datasets:\n  a:\n    {GOOD}    files: []\n", 6, "at least 1"),
        (
            f"datasets:\n  a:\n    {GOOD}    files:\n      - url: ftp://x\n        sha256: {SUM}\n",
            7, "https://host/path",
        ),
        (
            f"datasets:\n  a:\n    {GOOD}    files:\n      - url: http://x/y\n        sha256: 1\n",
            8, "64 characters",
        ),
        (
            f"datasets:\n  a:\n    {GOOD}    files:\n      - url: https://x/y\n"
            f"        sha256: {SUM}\n        path: ../up\n", 9, "leads out",
        ),
        ("- a\n", 1, "mapping"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(BadCatalog) as told:
        parse(text, "mine.yaml", {})
    assert any(fault.line == line and words in str(fault) for fault in told.value.errors)
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    done = CliRunner().invoke(datasets, ["catalog", "check", str(path)])
    assert (done.exit_code, f"line {line}" in done.stderr) == (1, True)


def test_an_entry_may_be_taken_away_and_a_bucket_named(tmp_path: Path) -> None:
    text = (
        f"datasets:\n  iris: null\n  b:\n    {GOOD}    files:\n"
        f"      - {{url: 's3://bucket/a/b.csv', sha256: '{SUM}'}}\n"
    )
    found = parse(text, "mine.yaml", shipped())
    assert "iris" not in found
    assert found["b"].files[0].address == "https://s3.amazonaws.com/bucket/a/b.csv"
    assert found["b"].files[0].target == "b.csv"
