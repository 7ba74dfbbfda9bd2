"""What is backed up while the hub is up, as the page says, comes back as it was."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nablahub.client import connect
from tests.support.hub import environment, running

PAGE = Path(__file__).resolve().parents[2] / "docs" / "howto" / "operate.md"


def commands(heading: str) -> list[str]:
    """Return the blocks of commands below a heading."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    return re.findall(r"^```sh\n(.*?)^```", section, re.M | re.S)


def shell(script: str, home: Path) -> None:
    """Run commands as a user with that home would."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", script], cwd=home, env=environment(HOME=str(home), PATH=path),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.hub
@pytest.mark.timeout(600)
def test_a_backup_made_while_the_hub_is_up_comes_back(tmp_path: Path) -> None:
    home, files = tmp_path / "home", tmp_path / "files"
    root = home / ".local" / "share" / "nablahub"
    files.mkdir()
    (files / "small.txt").write_text("a few bytes")
    (files / "large.bin").write_bytes(os.urandom(2 * 1024**2))
    with running(root, None) as hub:
        with connect(state=hub.state) as client:
            project = client.projects.create("kept").id
            made = client.datasets.create("data", project=project)
            version = client.datasets.upload(made.id, files, message="before")
            token = client.transport.token
        shell(commands("Back up")[1], home)
    shutil.rmtree(root)
    shell(commands("Restore")[0], home)
    with running(root, None) as hub, connect(state=hub.state) as client:
        assert client.transport.token == token
        assert [p.id for p in client.projects.list()] == [project]
        client.datasets.download(version.id, tmp_path / "back")
        for path in files.iterdir():
            assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()
