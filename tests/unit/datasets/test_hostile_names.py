"""Names and files made to do harm: each comes back byte for byte, or is refused in a sentence."""

from __future__ import annotations

import gzip
import http.client
import io
import json
import os
import secrets
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from nablahub.datasets.cli import datasets
from tests.support.service import RunningService, running
from tests.unit.datasets.builders import entries, read, write
from tests.unit.datasets.hub import EXTENSIONS, api_of

#: Odd, and the same file everywhere.
KEPT = {
    "A/letter": b"upper",
    "a/letter": b"lower",
    "Readme": b"1",
    "readme": b"2",
    "x" * 255: b"longest",
    "é" * 127: b"longest in UTF-8",
    "/".join(["d" * 100] * 18): b"deep",
    "...": b"dots",
    "..a/b..": b"more dots",
    "-rf": b"option",
    "--help": b"option",
    "~": b"home",
    "$HOME": b"variable",
    "`id`": b"command",
    "a b\u2028c": b"line separator",
    "100%.txt": b"percent",
    "50%25.txt": b"encoded percent",
    "a:b": b"colon",
    "a?b#c&d=e": b"of URLs",
    "<script>.txt": b"of HTML",
    "CON": b"of Windows",
    "e\u0301-alone": b"decomposed",
    "empty": b"",
    "deep/empty": b"",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state"), EXTENSIONS) as found:
        yield found


@pytest.fixture
def dataset(service: RunningService) -> str:
    return api_of(service).create(f"d{secrets.token_hex(8)}").name


def typed(service: RunningService, *words: str) -> Result:
    env = {"NABLAHUB_URL": service.url, "NABLAHUB_TOKEN": "token-of-alice"}
    return CliRunner().invoke(datasets, words, env=env)


def raw(service: RunningService, method: str, path: str, body: bytes = b"") -> tuple[int, Any]:
    """Send a request whose path is left exactly as it is."""
    place = urlsplit(service.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=30)
    try:
        connection.putrequest(method, f"{place.path}/api/v1{path}")
        connection.putheader("Authorization", "Bearer token-of-alice")
        connection.putheader("Content-Type", "application/octet-stream")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data[:1] == b"{" else data
    finally:
        connection.close()


def test_odd_names_come_back_byte_for_byte(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    tree = write(tmp_path / "tree", KEPT)
    put = typed(service, "put", dataset, str(tree))
    assert put.exit_code == 0, put.output
    assert typed(service, "get", dataset, str(tmp_path / "back")).exit_code == 0
    assert read(tmp_path / "back") == KEPT
    for path, content in KEPT.items():
        assert api_of(service).read(dataset, path) == content
    one = typed(service, "get", dataset, str(tmp_path / "one"), "--path", "a?b#c&d=e")
    assert one.exit_code == 0
    assert (tmp_path / "one").read_bytes() == b"of URLs"


def test_odd_names_of_drafts_come_back_byte_for_byte(service: RunningService, dataset: str) -> None:
    with api_of(service).draft(dataset) as draft:
        for path, content in KEPT.items():
            draft.put(path, content)
        draft.commit()
    assert {f.path for f in api_of(service).files(dataset)} == set(KEPT)
    assert {p: api_of(service).read(dataset, p) for p in KEPT} == KEPT


@pytest.mark.parametrize("name", [b"new\nline", b"back\\slash", b"\xff\xfe", b"%2e%2e", b"\x1b[2J"])
def test_a_folder_with_a_name_that_can_not_be_is_refused_whole(
    service: RunningService, dataset: str, tmp_path: Path, name: bytes
) -> None:
    tree = write(tmp_path / "tree", {"fine": b"1"})
    os.close(os.open(os.fsencode(tree) + b"/" + name, os.O_CREAT | os.O_WRONLY))
    told = typed(service, "put", dataset, str(tree))
    assert told.exit_code == 1
    assert "can't be in a dataset" in " ".join(told.stderr.split())
    assert "\x1b[2J" not in told.stderr
    assert list(api_of(service).versions(dataset)) == []


def test_unicode_twins_in_a_folder_are_refused(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    tree = write(tmp_path / "tree", {"\u00e9": b"1", "e\u0301": b"2"})
    told = typed(service, "put", dataset, str(tree))
    assert told.exit_code == 1
    assert "looks the same" in " ".join(told.stderr.split())


@pytest.mark.parametrize("target", ["../secret", "/etc/hostname", "nowhere", ".", "sub"])
def test_links_out_of_a_folder_are_refused(
    service: RunningService, dataset: str, tmp_path: Path, target: str
) -> None:
    tree = write(tmp_path, {"secret": b"s", "tree/sub/a": b"1"}) / "tree"
    (tree / "link").symlink_to(target)
    told = typed(service, "put", dataset, str(tree))
    assert told.exit_code == 1
    assert "'link'" in told.stderr
    assert list(api_of(service).versions(dataset)) == []


def test_empty_folders_are_left_and_sparse_files_are_whole(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    tree = write(tmp_path / "tree", {"a": b""})
    (tree / "void/inner").mkdir(parents=True)
    with (tree / "holes").open("wb") as file:
        file.seek(5_000_000)
        file.write(b"end")
    assert typed(service, "put", dataset, str(tree)).exit_code == 0
    assert typed(service, "get", dataset, str(tmp_path / "back")).exit_code == 0
    assert read(tmp_path / "back") == {"a": b"", "holes": bytes(5_000_000) + b"end"}


@pytest.mark.parametrize("size", [100, 3_000_000])
def test_a_file_that_grows_while_it_is_sent_is_whole_or_refused(
    service: RunningService, dataset: str, tmp_path: Path, size: int
) -> None:
    tree = write(tmp_path / "tree", {"log": b"x" * size, "other": b"1"})
    stop = threading.Event()

    def grow() -> None:
        with (tree / "log").open("ab", 0) as file:
            while not stop.wait(0.001):
                file.write(b"y" * 1000)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        told = typed(service, "put", dataset, str(tree))
    finally:
        stop.set()
        writer.join()
    if told.exit_code:
        assert "'log' changed while it was being read" in " ".join(told.stderr.split())
        assert list(api_of(service).versions(dataset)) == []
    else:
        (file,) = [f for f in api_of(service).files(dataset) if f.path == "log"]
        assert api_of(service).read(dataset, "log") == (tree / "log").read_bytes()[: file.size]


#: As they stand in the request line, and why they are refused.
FORMS = {
    "..%2fevil": "'..'",
    "a/%2e%2e/evil": "'..'",
    "%252e%252e/evil": "percent-decoded",
    "a%5cevil": "backslash",
    "a%00evil": "a NUL",
    "a%0aevil": "a newline",
    "a//evil": "an empty name",
    "a/%2e/evil": "'.'",
    "%2fevil": "absolute",
    "C%3a/evil": "absolute",
    "%ff": "UTF-8",
    "x" * 256: "255 bytes",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_a_path_that_leads_elsewhere_is_refused_by_the_api(
    service: RunningService, form: str
) -> None:
    dataset = api_of(service).ensure("forms").id
    made = service.transport().post(f"/datasets/{dataset}/uploads", {})
    where = f"/datasets/{dataset}/uploads/{made['version']}"
    status, told = raw(service, "PUT", f"{where}/files/{form}", b"x")
    assert 400 <= status < 500
    assert told["detail"].endswith(".")
    assert told["detail"].isprintable()
    assert "evil" not in str([c.path for c in _changes(service, where)])
    status, _ = raw(service, "GET", f"/datasets/{dataset}/versions/latest/files/{form}")
    assert status in (400, 404, 422)


def _changes(service: RunningService, where: str) -> list[Any]:
    from nablahub.datasets.types import Change

    return [Change.model_validate(row) for row in service.transport().pages(f"{where}/changes")]


BAD_PATHS = [
    "../up", "/abs", "a\\b", "a/../b", "%2e%2e/x", "%252e%252e/x", "a//b", "a/./b", "a\x00b",
    "a\nb", "n" * 256, "", ".", "..", "C:/x",
]  # fmt: skip


@pytest.mark.parametrize("path", BAD_PATHS)
def test_a_manifest_with_such_a_path_makes_no_version(service: RunningService, path: str) -> None:
    dataset = api_of(service).ensure("manifests").id
    made = service.transport().post(f"/datasets/{dataset}/uploads", {})
    row = entries({"x": b""})[0]._replace(path=path).line()
    where = f"/datasets/{dataset}/uploads/{made['version']}/commit"
    status, told = raw(service, "POST", where, row.encode())
    assert status == 422
    assert told["detail"].isprintable()
    assert list(api_of(service).versions(dataset)) == []


def packed(folder: Path, files: dict[str, bytes], kind: str) -> Path:
    made = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(made, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(mode="w", fileobj=made) as tar:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))
    file = folder / f"archive.{kind}"
    file.write_bytes(gzip.compress(made.getvalue()) if kind == "tgz" else made.getvalue())
    return file


@pytest.mark.parametrize("kind", ["zip", "tar", "tgz"])
def test_what_is_in_an_archive_is_put(
    service: RunningService, dataset: str, tmp_path: Path, kind: str
) -> None:
    made = typed(service, "put", dataset, str(packed(tmp_path, KEPT, kind)), "--unpack", "--json")
    assert made.exit_code == 0, made.output
    assert typed(service, "get", dataset, str(tmp_path / "back")).exit_code == 0
    assert read(tmp_path / "back") == KEPT
    again = api_of(service).upload(dataset, tmp_path / f"archive.{kind}", unpack=True)
    assert again.id == json.loads(made.stdout)["id"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", ["../evil", "/evil", "a\\evil", "%2e%2e/evil", "e\u0301"])
def test_an_archive_with_such_a_name_is_refused_whole(
    service: RunningService, dataset: str, tmp_path: Path, kind: str, name: str
) -> None:
    file = packed(tmp_path, {"fine": b"1", "\u00e9": b"2", name: b"3"}, kind)
    told = typed(service, "put", dataset, str(file), "--unpack", "--create")
    assert told.exit_code == 1
    assert "in the archive can't be unpacked" in " ".join(told.stderr.split())
    assert list(api_of(service).versions(dataset)) == []


def test_what_is_no_archive_is_said(service: RunningService, dataset: str, tmp_path: Path) -> None:
    tree = write(tmp_path, {"a.txt": b"text"})
    told = typed(service, "put", dataset, str(tree / "a.txt"), "--unpack")
    assert (told.exit_code, "neither a zip nor a tar" in told.stderr) == (1, True)
    told = typed(service, "put", dataset, str(tree), "--unpack")
    assert (told.exit_code, "is a folder" in told.stderr) == (1, True)
