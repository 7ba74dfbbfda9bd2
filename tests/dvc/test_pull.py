"""An unmodified ``dvc`` pulls a version from the hub and gets every byte."""

from __future__ import annotations

import hashlib
from pathlib import Path

import httpx
import pytest

from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.packs import SMALL
from tests.dvc.repository import Repository, export
from tests.support.service import RunningService
from tests.support.stores import stored
from tests.unit.datasets.builders import entry, read, write

#: What does not depend on the store is tried with one of them, with the other by the slow tests.
AT_A_DIRECTORY = pytest.mark.parametrize(
    "service",
    ["directory", pytest.param("s3", marks=pytest.mark.slow)],
    indirect=True,
    scope="module",
)

FILES = {
    "a.csv": b"x,y\n1,2\n",
    "empty": b"",
    "deep/er/1.bin": bytes(range(256)),
    "deep/er/2.bin": bytes(range(255)),
    "the same.bin": bytes(range(255)),
    "ünïcode/日本.txt": "日本".encode(),
    "big.bin": bytes(range(256)) * 8192,
}


def test_dvc_pull_gets_every_byte(service: RunningService, tmp_path: Path) -> None:
    api = DatasetsAPI(service.transport())
    dataset = api.create("dvc data").id
    api.upload(dataset, write(tmp_path / "tree", FILES))
    md5 = hashlib.md5(FILES["big.bin"]).hexdigest()
    assert len(FILES["big.bin"]) > SMALL
    [loose] = [p for p in stored(service) if "/files/md5/" in p]
    assert loose.endswith(f"/{md5[:2]}/{md5[2:]}")

    repo = Repository(tmp_path / "repo")
    remote = export(service, dataset, repo)
    repo.dvc("remote", "modify", "--local", remote, "password", "Bearer token-of-alice")
    repo.dvc("pull", "-v")
    assert read(repo.path / "dvc data") == FILES
    assert "up to date" in repo.dvc("status")

    # DVC itself gives this very tree the name that the hub gave it.
    again = Repository(tmp_path / "again")
    write(again.path / "dvc data", FILES)
    again.dvc("add", "dvc data")
    ours, theirs = ((r.path / "dvc data.dvc").read_text() for r in (repo, again))
    assert _md5(ours) == _md5(theirs)


def _md5(text: str) -> str:
    return next(line.split()[-1] for line in text.splitlines() if "md5:" in line)


@AT_A_DIRECTORY
def test_dvc_pull_of_a_later_version(service: RunningService, tmp_path: Path) -> None:
    api = DatasetsAPI(service.transport())
    dataset = api.create("changing").id
    tree = write(tmp_path / "tree", FILES)
    first = api.upload(dataset, tree)
    (tree / "a.csv").write_bytes(b"new")
    api.upload(dataset, tree)
    repo = Repository(tmp_path / "repo")
    for ref, data in ((dataset, b"new"), (first.id, FILES["a.csv"])):
        remote = export(service, ref, repo)
        repo.dvc("remote", "modify", "--local", remote, "password", "Bearer token-of-alice")
        repo.dvc("pull", "--force")
        assert (repo.path / "changing/a.csv").read_bytes() == data


@AT_A_DIRECTORY
def test_a_wrong_token_pulls_nothing(service: RunningService, tmp_path: Path) -> None:
    api = DatasetsAPI(service.transport())
    dataset = api.create("closed").id
    api.upload(dataset, write(tmp_path / "tree", {"a": b"1"}))
    for user in ("nobody", "bob"):
        repo = Repository(tmp_path / f"repo-{user}")
        remote = export(service, dataset, repo)
        repo.dvc("remote", "modify", "--local", remote, "password", f"Bearer token-of-{user}")
        repo.dvc("pull", ok=False)
        assert not (repo.path / "closed/a").exists()


def test_only_what_the_dataset_refers_to_is_answered(
    service: RunningService, tmp_path: Path
) -> None:
    api = DatasetsAPI(service.transport())
    mine, other = api.create("mine").id, api.create("other").id
    version = api.upload(mine, write(tmp_path / "one", {"a": b"1", "big": b"b" * (SMALL + 1)}))
    api.upload(other, write(tmp_path / "two", {"z": b"2"}))
    small, large = entry("", b"1").md5, entry("", b"b" * (SMALL + 1)).md5

    def status(dataset: str, oid: str, token: str = "token-of-alice") -> int:
        url = f"{service.url}/dvc/{dataset}/files/md5/{oid[:2]}/{oid[2:]}"
        return httpx.get(url, headers={"Authorization": f"Bearer {token}"}).status_code

    for oid in (small, large, f"{version.dvc_md5}.dir"):
        assert status(mine, oid) == 200
        assert status(other, oid) == 404
        assert status(mine, oid, "token-of-bob") == 404
        assert status(mine, oid, "wrong") == 401
    assert status(mine, "0" * 32) == 404
    assert status(mine, "../../packs") == 404
