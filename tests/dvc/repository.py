"""The real ``dvc`` in a repository of its own, and a hub that it knows as a remote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from nablahub.datasets.cli import datasets as datasets_command
from tests.support.service import RunningService


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
