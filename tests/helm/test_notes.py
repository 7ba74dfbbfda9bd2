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


def test_no_port_is_forwarded_where_people_go_elsewhere(tmp_path: Path) -> None:
    said = notes(tmp_path, ["--set", "publicUrl=https://hub.example.org"])
    assert "port-forward" not in said
    assert "what answers at https://hub.example.org\npass requests on to port 80" in said
