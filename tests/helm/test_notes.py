"""What the chart says when it is installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helm.charts import notes


def test_the_command_line_is_told_where_the_hub_is(tmp_path: Path) -> None:
    said = notes(tmp_path, ["--set", "publicUrl=https://hub.example.org"])
    assert "make a token at https://hub.example.org/hub/token" in said
    assert "export NABLAHUB_URL=https://hub.example.org NABLAHUB_TOKEN=" in said


@pytest.mark.parametrize(
    ("url", "port"),
    [
        ("http://localhost:18731", "18731"),
        ("http://127.0.0.1", "80"),
        ("http://[::1]:9000", "9000"),
    ],
)
def test_a_forwarded_port_is_the_one_that_is_opened(tmp_path: Path, url: str, port: str) -> None:
    said = notes(tmp_path, ["--set", f"publicUrl={url},traefik.service.port=8080"])
    assert f"port-forward service/nablahub-traefik {port}:8080\n\nand open {url}.\n" in said


CLASS = "jupyterhub.hub.config.JupyterHub.authenticator_class"
WORD = "jupyterhub.hub.config.DummyAuthenticator.password"


@pytest.mark.parametrize("given", ["publicUrl=http://localhost", f"{CLASS}=dummy", f"{WORD}="])
def test_a_hub_that_is_open_to_anybody_is_told(tmp_path: Path, given: str) -> None:
    said = notes(tmp_path, ["--set", given])
    assert "WARNING: anybody may sign in, under any name" in said
    assert "the dummy one, without a password" in said


@pytest.mark.parametrize("given", [f"{CLASS}=dummy,{WORD}=word", f"{WORD}=1", f"{CLASS}=github"])
def test_a_hub_that_asks_who_you_are_is_not_warned_of(tmp_path: Path, given: str) -> None:
    assert "WARNING" not in notes(tmp_path, ["--set", given])


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ("", "leaves the claim `nablahub-state` and its data, and the Secret `nablahub`."),
        ("secret.create=false", "leaves the claim `nablahub-state` and its data."),
        ("service.storage.keep=false", "leaves the Secret `nablahub`."),
        ("service.storage.keep=false,secret.create=false", ""),
    ],
)
def test_what_an_uninstall_leaves_is_told(tmp_path: Path, given: str, left: str) -> None:
    said = notes(tmp_path, ["--set", given] if given else [])
    assert (f"`helm uninstall` {left}" in said) if left else ("uninstall" not in said)


def test_no_port_is_forwarded_where_people_go_elsewhere(tmp_path: Path) -> None:
    said = notes(tmp_path, ["--set", "publicUrl=https://hub.example.org"])
    assert "port-forward" not in said
    assert "what answers at https://hub.example.org\npass requests on to port 80" in said
