"""A folder that goes with a job: what is in it, how it gets there, and when it goes."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from random import Random

import httpx
import pytest
from click.testing import CliRunner
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from nablahub.core.errors import NablaError, QuotaExceeded
from nablahub.core.times import now
from nablahub.jobs.cli import jobs as command
from nablahub.jobs.service import JobService
from nablahub.jobs.store import WorkspaceRow
from nablahub.jobs.workspaces import errors, packing
from nablahub.jobs.workspaces.packing import look, pack
from tests.support.service import RunningService, running
from tests.unit.jobs.conftest import EXTENSIONS, Jobs, until


def rows[T](service: RunningService, work: Callable[[Session], T]) -> T:
    return service.service.context.database.write_sync(work)


def write(root: Path, files: Mapping[str, str]) -> Path:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


def paths(root: Path) -> list[str]:
    return [found.path for found in look(root).files]


def packed(root: Path) -> tuple[str, bytes]:
    target = io.BytesIO()
    digest = pack(look(root), target, lambda _done, _total: None)
    return digest, target.getvalue()


TREE = {
    ".gitignore": "*.log\n!keep.log\n/build/\n__pycache__/\ndata/**/raw\n# a comment\n\\#odd\n",
    ".nablahubignore": "",
    "train.py": "", "a.log": "", "keep.log": "", "build/x": "", "sub/build/x": "",
    "sub/.gitignore": "!a.log\nsecret*\n*.py\n!need.py\n", "sub/a.log": "", "sub/b.log": "",
    "sub/secret.txt": "", "sub/other.py": "", "sub/need.py": "", "sub/deep/need.py": "",
    "sub/deep/.gitignore": "need.py\n", "__pycache__/m.pyc": "", "sub/__pycache__/m.pyc": "",
    "data/1/2/raw/x": "", "data/raw": "", "data/1/cooked": "", "#odd": "", "empty.txt": "",
    "build2/.gitignore": "*\n!.gitignore\n", "build2/x": "",
}  # fmt: skip


def test_what_git_leaves_out_is_left_out(tmp_path: Path) -> None:
    root = write(tmp_path / "tree", TREE)
    git = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    env = {**os.environ, **git}
    subprocess.run(["git", "init", "-q"], cwd=root, env=env, check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--others", "--exclude-standard"],
        cwd=root, env=env, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    assert paths(root) == sorted(listed.rstrip("\0").split("\0"))


def test_our_own_file_comes_after_gits(tmp_path: Path) -> None:
    root = write(
        tmp_path,
        {
            ".gitignore": "model.bin\n", ".nablahubignore": "!model.bin\n*.ipynb\n",
            "model.bin": "", "note.ipynb": "", "sub/.nablahubignore": "*\n", "sub/x": "",
            "sub/.git": "a worktree's", ".git/config": "",
        },
    )  # fmt: skip
    assert paths(root) == [".gitignore", ".nablahubignore", "model.bin"]


def test_the_same_folder_is_the_same_archive(tmp_path: Path) -> None:
    files = {"b": "2", "a/ü": "1", "n" * 150: "long"}
    one = write(tmp_path / "one", files)
    two = write(tmp_path / "two", dict(reversed(files.items())))
    for root in (one, two):
        (root / "void").mkdir()
    os.utime(two / "b", (1, 1))
    (two / "b").chmod(0o600)
    (one / "link").symlink_to("b")
    (two / "link").write_text("2")
    assert packed(one) == packed(two)
    digest, archive = packed(one)
    assert hashlib.sha256(gzip.decompress(archive)).hexdigest() == digest
    (two / "b").chmod(0o700)
    assert packed(two)[0] != digest


@pytest.mark.parametrize("target", ["../secret", "/etc/hostname", "nowhere", "."])
def test_a_link_out_of_the_folder_is_refused(tmp_path: Path, target: str) -> None:
    root = write(tmp_path, {"secret": "s", "tree/a": ""}) / "tree"
    (root / "way").symlink_to(target)
    with pytest.raises(errors.BadWorkspace, match="'way' can't be in a workspace"):
        look(root)
    (root / ".nablahubignore").write_text("way\n")
    assert paths(root) == [".nablahubignore", "a"]


def test_a_folder_that_is_too_large_names_its_largest_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write(tmp_path, {"small.py": "x"})
    for name, size in (("weights.bin", 400 << 20), ("data/train.csv", 300 << 20)):
        (root / name).parent.mkdir(exist_ok=True)
        with (root / name).open("wb") as file:
            file.truncate(size)
    with pytest.raises(errors.WorkspaceTooLarge, match=r"700.0 MiB.* 512.0 MiB") as told:
        look(root)
    assert [fault.message for fault in told.value.errors][:2] == [
        "weights.bin: 400.0 MiB",
        "data/train.csv: 300.0 MiB",
    ]
    monkeypatch.setattr(packing, "MOST", 2)
    with pytest.raises(errors.WorkspaceTooLarge, match="more than"):
        look(root)


def test_a_command_begins_in_a_copy_of_its_own(jobs: Jobs, tmp_path: Path) -> None:
    root = write(tmp_path / "code", {"main.sh": "echo main; cat sub/a\n", "sub/a": "one\n"})
    (root / "main.sh").chmod(0o755)
    (root / "void").mkdir()
    digest = jobs.api.workspace(jobs.project, root)
    script = "pwd; sh main.sh; test -x main.sh -a -d void && echo x > sub/a; cat sub/a extra"
    for _ in range(2):  # What the first wrote is its own.
        job = jobs.shell(script, workspace=digest, files={"extra": "laid\n", "sub/b": ""})
        assert (job.state, job.workspace) == ("Succeeded", digest), job.message
        assert jobs.api.log(job.id) == "/work\nmain\none\nx\nlaid\n"


def test_the_command_line_packs_and_sends_once(
    jobs: Jobs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NABLAHUB_URL", jobs.service.url)
    monkeypatch.setenv("NABLAHUB_TOKEN", "token-of-alice")
    root = write(tmp_path / "code", {"a.txt": "hello\n", "big.log": "x", ".gitignore": "*.log\n"})
    words = ("run", "--project", "work", "--workspace", str(root), "--", "sh", "-c", "ls; cat *")
    for _ in range(2):
        done = CliRunner().invoke(command, words)
        assert (done.exit_code, done.stdout) == (0, "a.txt\nhello\n"), done.output
        assert "2 files, 12 B" in " ".join(done.stderr.split())
    digest = packed(root)[0]
    query = select(WorkspaceRow.id).where(WorkspaceRow.digest == digest)
    assert len(rows(jobs.service, lambda s: s.scalars(query).all())) == 1
    (root / "link").symlink_to("/etc/passwd")
    refused = CliRunner().invoke(command, words)
    assert refused.exit_code == 1
    assert "'link' can't be in a workspace" in " ".join(refused.stderr.split())


def archive(*names: str) -> bytes:
    made = io.BytesIO()
    with tarfile.open(mode="w", fileobj=made) as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(name))
    return made.getvalue()


def put(jobs: Jobs, digest: str, body: bytes) -> None:
    hub = jobs.service.transport()
    hub.request("PUT", f"/projects/{jobs.project}/workspaces/{digest}", content=body)


def test_an_archive_that_is_not_what_it_says_is_not_kept(jobs: Jobs) -> None:
    plain = archive("a")
    digest, whole = hashlib.sha256(plain).hexdigest(), gzip.compress(plain)
    for body, words in (
        (gzip.compress(plain + b"x"), "others than its digest"),
        (plain, "not compressed"),
        (whole[:-9], "cut off"),
        (whole + b"more", "follows its end"),
        (b"", "cut off"),
    ):
        with pytest.raises(errors.BadWorkspace, match=words):
            put(jobs, digest, body)
        with pytest.raises(errors.NoSuchWorkspace):
            jobs.service.transport().get(f"/projects/{jobs.project}/workspaces/{digest}")
    with pytest.raises(errors.NoSuchWorkspace, match="jobs run --workspace"):
        jobs.submit("true", workspace=digest)
    with pytest.raises(NablaError, match="64 characters"):
        put(jobs, "short", whole)
    put(jobs, digest, whole)
    assert jobs.shell("ls", workspace=digest).state == "Succeeded"


def test_a_bomb_is_not_taken(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nablahub.jobs.workspaces.service.LONGEST", 1 << 20)
    with pytest.raises(errors.BadWorkspace, match="longer than"):
        put(jobs, "0" * 64, gzip.compress(bytes(8 << 20)))


@pytest.mark.parametrize("name", ["../evil", "/evil"])
def test_an_archive_that_leads_outside_ends_the_job(jobs: Jobs, name: str) -> None:
    plain = archive("fine", name)
    digest = hashlib.sha256(plain).hexdigest()
    put(jobs, digest, gzip.compress(plain))
    job = jobs.shell("ls", workspace=digest)
    assert (job.state, job.reason) == ("Error", "start")
    assert f"'{name}' in the archive can't be unpacked" in job.message


def test_a_workspace_of_another_team_does_not_exist(jobs: Jobs, tmp_path: Path) -> None:
    digest = jobs.api.workspace(jobs.project, write(tmp_path / "code", {"mine": "secret"}))
    bob = jobs.service.transport("bob")
    with pytest.raises(NablaError, match="was not found"):
        bob.get(f"/projects/{jobs.project}/workspaces/{digest}")
    theirs = bob.post("/projects", {"name": "bobs"})["id"]
    with pytest.raises(errors.NoSuchWorkspace):
        bob.get(f"/projects/{theirs}/workspaces/{digest}")
    with pytest.raises(errors.NoSuchWorkspace):
        bob.post("/jobs", {"project_id": theirs, "command": ["ls"], "workspace": digest})


def test_what_no_job_needs_goes_after_a_week(jobs: Jobs, tmp_path: Path) -> None:
    service = jobs.service.service.context.get(JobService).workspaces
    kept = jobs.api.workspace(jobs.project, write(tmp_path / "kept", {"wait": "1"}))
    gone = jobs.api.workspace(jobs.project, write(tmp_path / "gone", {"x": "1"}))
    job = jobs.submit("sh", "-c", "sleep 60", workspace=kept)
    until(jobs, job.id, lambda job: bool(job["state"] == "Running"))
    assert service.collect() == 0
    long_ago = now() - timedelta(days=8)
    rows(jobs.service, lambda s: s.execute(update(WorkspaceRow).values(used_at=long_ago)))
    assert service.collect() >= 1
    hub, where = jobs.service.transport(), f"/projects/{jobs.project}/workspaces"
    assert hub.get(f"{where}/{kept}")["digest"] == kept
    with pytest.raises(errors.NoSuchWorkspace):
        hub.get(f"{where}/{gone}")
    ids = rows(jobs.service, lambda s: set(s.scalars(select(WorkspaceRow.id))))
    folder = jobs.service.settings.state.objects
    assert {path.name for path in folder.glob("*/workspaces/*")} == ids
    jobs.api.cancel(job.id)
    jobs.api.wait(job.id)


@pytest.fixture
def tight(tmp_path: Path) -> Iterator[RunningService]:
    """A service whose teams may store 100 kB."""
    with running(tmp_path / "tight", EXTENSIONS, dataset_quota_bytes=100_000) as found:
        yield found


def noise(root: Path, size: int, seed: int = 0) -> Path:
    """Make a folder that cannot be compressed."""
    root.mkdir()
    (root / "noise").write_bytes(Random(seed).randbytes(size))
    return root


def age(service: RunningService, by: timedelta) -> None:
    """Let all workspaces be older."""
    rows(service, lambda s: s.execute(update(WorkspaceRow).values(used_at=now() - by)))


def test_workspaces_count_in_the_quota(tight: RunningService, tmp_path: Path) -> None:
    hub = tight.hub("alice")
    project = hub.projects.create("work").id
    hub.datasets.create("data")
    hub.datasets.write("data", "x", Random(1).randbytes(30_000))
    first = hub.jobs.workspace(project, noise(tmp_path / "first", 40_000))
    full = r"hold 6\d\.\d KiB of the 97\.7 KiB"
    with pytest.raises(errors.WorkspaceQuota, match=full) as refused:
        hub.jobs.workspace(project, noise(tmp_path / "second", 60_000, 2))
    assert "nablahubignore" in (refused.value.hint or "")
    assert "larger quota" in (refused.value.hint or "")
    # Sent without its length it is refused as well, and nothing of either is left.
    digest, whole = packed(tmp_path / "second")
    pieces = (whole[at : at + 10_000] for at in range(0, len(whole), 10_000))
    answer = httpx.put(
        f"{tight.url}/api/v1/projects/{project}/workspaces/{digest}", content=pieces,
        headers={"Authorization": "Bearer token-of-alice", "Content-Type": "application/gzip"},
    )  # fmt: skip
    assert (answer.status_code, answer.json()["code"]) == (507, "workspace_quota")
    assert rows(tight, lambda s: len(s.scalars(select(WorkspaceRow)).all())) == 1
    with pytest.raises(QuotaExceeded, match="datasets and workspaces hold"):
        hub.datasets.write("data", "y", Random(3).randbytes(60_000))
    # One that was not used for a while makes room, for another one or for data.
    age(tight, timedelta(hours=2))
    second = hub.jobs.workspace(project, tmp_path / "second")
    with pytest.raises(errors.NoSuchWorkspace):
        hub.jobs._hub.get(f"/projects/{project}/workspaces/{first}")
    age(tight, timedelta(hours=2))
    hub.datasets.write("data", "y", Random(3).randbytes(60_000))
    with pytest.raises(errors.NoSuchWorkspace):
        hub.jobs._hub.get(f"/projects/{project}/workspaces/{second}")
