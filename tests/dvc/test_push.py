"""An unmodified ``dvc`` pushes to the hub, and a version is there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.packs import SMALL
from tests.dvc.repository import Repository, export
from tests.support.service import RunningService
from tests.support.stores import collect, stored
from tests.unit.datasets.builders import entry, read, write
from tests.unit.datasets.hub import fresh

FILES = {f"many/{i:02}": b"%d" % i for i in range(40)} | {
    "empty": b"",
    "twice": b"0",
    "ünïcode.txt": b"u",
    "big.bin": b"b" * (SMALL + 100),
}


def test_dvc_push_makes_a_version(service: RunningService, tmp_path: Path) -> None:
    api = DatasetsAPI(service.transport())
    dataset = api.create("pushed").id
    first = api.upload(dataset, write(tmp_path / "first", {"a": b"1", "many/00": b"0"}))
    repo = Repository(tmp_path / "repo")
    remote = export(service, dataset, repo)
    repo.dvc("remote", "modify", "--local", remote, "password", "Bearer token-of-alice")
    repo.dvc("pull")
    write(repo.path / "pushed", FILES)
    (repo.path / "pushed/a").unlink()
    repo.dvc("add", "pushed")
    repo.dvc("push", "-r", remote)
    found = api.version(dataset)
    assert (found.number, found.source, found.author) == (2, "dvc push", "alice")
    assert f"{found.dvc_md5}.dir" in (repo.path / "pushed.dvc").read_text()
    api.download(dataset, tmp_path / "back")
    assert read(tmp_path / "back") == FILES
    assert api.read(first.id, "a") == b"1"

    team = api.get(dataset).team_id
    collect(service, team)
    kept = stored(service)
    assert not [p for p in kept if "/parts/" in p or "begun" in p]
    assert len([p for p in kept if f"/{team}/files/" in p]) == 1

    # Another clone pulls what was pushed; pushing it once more changes nothing.
    other = Repository(tmp_path / "other")
    remote = export(service, found.id, other)
    other.dvc("remote", "modify", "--local", remote, "password", "Bearer token-of-alice")
    other.dvc("pull")
    assert read(other.path / "pushed") == FILES
    other.dvc("push")
    assert len(list(api.versions(dataset))) == 2


def test_what_is_pushed_is_proved(service: RunningService) -> None:
    api = DatasetsAPI(service.transport())
    dataset = api.create("proved").id

    def put(oid: str, data: bytes, token: str = "token-of-alice") -> httpx.Response:
        url = f"{service.url}/dvc/{dataset}/files/md5/{oid[:2]}/{oid[2:]}"
        return httpx.put(url, content=data, headers={"Authorization": f"Bearer {token}"})

    row = entry("a", b"right")
    assert put(row.md5, b"wrong").status_code == 422
    assert put(row.md5, b"right", "token-of-bob").status_code == 404
    tree = b'[{"md5": "%s", "relpath": "a"}]' % row.md5.encode()
    name = f"{entry('', tree).md5}.dir"
    lost = put(name, tree)
    assert (lost.status_code, lost.json()["code"]) == (422, "missing_objects")
    assert "a: the bytes" in lost.json()["errors"][0]["message"]
    for bad in (b"[1]", b"{}x", b'[{"md5": "0", "relpath": "a"}]'):
        assert put(f"{entry('', bad).md5}.dir", bad).status_code == 422
    up = b'[{"md5": "%s", "relpath": "../a"}]' % row.md5.encode()
    assert put(f"{entry('', up).md5}.dir", up).json()["code"] == "bad_path"
    assert api.get(dataset).latest_version is None
    assert put(row.md5, b"right").status_code == 200
    assert put(name, tree).status_code == 200
    assert api.read(dataset, "a") == b"right"


@pytest.mark.parametrize(
    "tree",
    [
        b"{}", b"null", b"0", b'"a"', b"[" * 100_000, b"[[]]", b'[{"relpath": 1, "md5": "0"}]',
        b'[{"relpath": "a", "md5": "%s"}]' % (b"z" * 32),
        b'[{"relpath": "a", "md5": "%s"}]' % (b"/.." * 11)[:32],
        b'[{"relpath": "a", "md5": "%s"}]' % (b"A" * 32),
        b'[{"relpath": "a", "md5": "%s"}]' % ("é" * 32).encode(),
        b'[{"relpath": "a", "md5": ["%s"]}]' % (b"0" * 32),
        b'[{"relpath": "\\ud800", "md5": "%s"}]' % (b"0" * 32),
    ],
    ids=[f"tree {number}" for number in range(13)],
)  # fmt: skip
def test_a_dir_that_lists_no_files_is_refused_in_words(
    service: RunningService, request: pytest.FixtureRequest, tree: bytes
) -> None:
    api = DatasetsAPI(service.transport())
    dataset = fresh(service, request)
    md5 = hashlib.md5(tree, usedforsecurity=False).hexdigest()
    answer = httpx.put(
        f"{service.url}/dvc/{dataset}/files/md5/{md5[:2]}/{md5[2:]}.dir", content=tree,
        headers={"Authorization": "Bearer token-of-alice"},
    )  # fmt: skip
    assert answer.status_code == 422, answer.text
    assert answer.json()["hint"]
    assert api.get(dataset).latest_version is None
