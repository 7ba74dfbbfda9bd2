"""The three lines of the README make somebody's hub a NablaHub."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from nablahub.client import connect
from tests.support.hub import running

ROOT = Path(__file__).resolve().parents[2]
PAGES = (ROOT / "README.md", ROOT / "docs" / "howto" / "existing-hub.md")


def lines(page: Path) -> str:
    """Return the page's piece of a ``jupyterhub_config.py``."""
    (found,) = (
        block
        for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S)
        if "nablahub_hub" in block
    )
    return str(found)


def test_the_pages_show_the_same_three_lines() -> None:
    texts = {lines(page) for page in PAGES}
    assert len(texts) == 1
    assert len([line for line in texts.pop().splitlines() if line]) == 3


@pytest.mark.hub
def test_the_three_lines_are_enough(tmp_path: Path) -> None:
    state = tmp_path / "the state"
    config = tmp_path / "jupyterhub_config.py"
    own = 'c.JupyterHub.template_vars = {"announcement": "our own hub"}\n'
    config.write_text(own + lines(PAGES[0]).replace("/srv/nablahub", str(state)))
    with running(state, config) as hub, connect(state=hub.state) as client:
        assert client.whoami()["name"]
        assert list(client.projects.list()) == []
        assert "our own hub" in httpx.get(f"{hub.url}/hub/login", trust_env=False).text
