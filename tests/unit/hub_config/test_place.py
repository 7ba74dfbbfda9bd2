"""Commands for the hub's machine, typed in a terminal of Lab."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nablahub_hub.demo.command import demo
from nablahub_hub.local.commands import doctor, down, status, up

URL = "http://127.0.0.1:8000/services/nablahub"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of a server; returns its home."""
    monkeypatch.setenv("JUPYTERHUB_API_TOKEN", "token")
    monkeypatch.setenv("NABLAHUB_URL", URL)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("NABLAHUB_STATE_DIR", "XDG_DATA_HOME", "JUPYTERHUB_PUBLIC_HUB_URL"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("command", [up, down, status, doctor, demo])
def test_it_is_said_that_this_is_a_server(server: Path, command: click.Command) -> None:
    done = CliRunner().invoke(command, ["--json"])
    assert done.exit_code == 1
    error = json.loads(done.stdout)["error"]
    assert error["code"] == "inside_server"
    assert error["detail"].startswith(f"This terminal belongs to a server of a hub ({URL});")
    assert f"`nablahub {command.name}` is for" in error["detail"]
    assert not list(server.iterdir())


def test_a_state_directory_that_is_named_is_looked_at(
    server: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = CliRunner().invoke(status, ["--state-dir", str(server / "s")])
    assert "Stopped" in done.stdout
    monkeypatch.setenv("NABLAHUB_STATE_DIR", str(server / "s"))
    assert "Stopped" in CliRunner().invoke(status).stdout


def test_elsewhere_nothing_is_refused(server: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JUPYTERHUB_API_TOKEN")
    assert "Stopped" in CliRunner().invoke(status).stdout
