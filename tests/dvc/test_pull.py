"""An unmodified ``dvc`` pulls a version from the hub and gets every byte."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner

from nablahub.core.extension import load
from nablahub.datasets.api import DatasetsAPI
from nablahub.datasets.cli import datasets as datasets_command
from nablahub.datasets.packs import SMALL
from tests.support.service import RunningService, running
from tests.unit.datasets.builders import entry, read, write

EXTENSIONS = [
    load(f"nablahub.{name}.extension:extension") for name in ("teams", "projects", "datasets")
]
FILES = {
    "a.csv": b"x,y\n1,2\n",
    "empty": b"",
    "deep/er/1.bin": bytes(range(256)),
    "deep/er/2.bin": bytes(range(255)),
    "the same.bin": bytes(range(255)),
    "ünïcode/日本.txt": "日本".encode(),
    "big.bin": bytes(range(256)) * 8192,
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state"), EXTENSIONS) as found:
        yield found


class Repository:
    """A DVC repository without git."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.dvc("init", "--no-scm")
        self.dvc("config", "core.analytics", "false")

    def dvc(self, *arguments: str, ok: bool = True) -> str:
        """Run the real command and return what it said."""
        env = {
            **os.environ, "DVC_NO_ANALYTICS": "1", "DVC_TEST": "1", "HOME": str(self.path.parent),
            "DVC_SITE_CACHE_DIR": str(self.path.parent / "site"), "NO_PROXY": "*",
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments],
            cwd=self.path, env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert (done.returncode == 0) is ok, said
        return said


def export(service: RunningService, ref: str, repo: Repository, user: str = "alice") -> str:
    """Run ``nablahub datasets export-dvc`` and return the remote's name."""
    env = {"NABLAHUB_URL": service.url, "NABLAHUB_TOKEN": f"token-of-{user}"}
    done = CliRunner().invoke(
        datasets_command, ["export-dvc", ref, "--repo", str(repo.path), "--json"], env=env
    )
    assert done.exit_code == 0, done.output
    for line in (repo.path / ".dvc/config").read_text().splitlines():
        if line.startswith("['remote"):
            return line.split('"')[1]
    raise AssertionError("no remote was written")


def test_dvc_pull_gets_every_byte(service: RunningService, tmp_path: Path) -> None:
    api = DatasetsAPI(service.transport())
    dataset = api.create("dvc data").id
    api.upload(dataset, write(tmp_path / "tree", FILES))
    loose = [p for p in (service.state.objects).rglob("files/md5/*/*") if p.is_file()]
    assert [p.stat().st_size for p in loose] == [len(FILES["big.bin"])]
    assert loose[0].stat().st_size > SMALL

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
