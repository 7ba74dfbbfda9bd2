"""Somebody's own ``jupyterhub``, with no ``nablahub up``, after ``install(c)``."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from nablahub.client import Hub
from nablahub.core.errors import QuotaExceeded
from nablahub.core.state import StateDir
from nablahub.core.transport import Transport
from nablahub_hub.local.config import LocalConfig, free_ports
from tests.support.hub import environment, ours
from tests.support.waiting import until

pytestmark = pytest.mark.hub

CONFIG = """\
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.proxy_class = "traefik_file"
c.TraefikFileProviderProxy.traefik_api_url = "http://127.0.0.1:{api}"
c.TraefikFileProviderProxy.dynamic_config_file = "{folder}/rules.toml"
c.NablaHub.state_dir = "{folder}/state"
c.NablaHub.proxy = "keep"
c.NablaHub.dataset_quota_bytes = {quota}
import nablahub_hub
nablahub_hub.install(c)
# It is the supervisor that lets a hub end without its proxy.
c.JupyterHub.cleanup_proxy = True
"""


@contextmanager
def jupyterhub(folder: Path, quota: object) -> Iterator[subprocess.Popen[bytes]]:
    """Run JupyterHub on a configuration of its own; its log is ``log`` in the folder."""
    port, api = free_ports(2)
    config = folder / "jupyterhub_config.py"
    config.write_text(CONFIG.format(port=port, api=api, folder=folder, quota=quota))
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterhub", "-f", str(config)], env=environment(PATH=path),
            cwd=folder, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def test_the_service_is_kept_by_the_hub_and_knows_the_settings(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state")
    with jupyterhub(tmp_path, 100_000) as process:

        def runs() -> bool:
            assert process.poll() is None, (tmp_path / "log").read_text()
            return "JupyterHub is now running" in (tmp_path / "log").read_text()

        until(runs, "JupyterHub runs")
        local = LocalConfig.load(state)
        assert local is not None
        answer = httpx.post(
            f"{local.hub_url}/hub/api/users/{local.owner}/tokens", trust_env=False, json={},
            headers={"Authorization": f"token {state.secret('up_token')}"},
        )  # fmt: skip
        public = (tmp_path / "jupyterhub_config.py").read_text().split('"')[1]
        url = f"{public}/services/nablahub"
        with closing(Transport(url, answer.json()["token"])) as transport:
            hub = Hub(transport)
            (tmp_path / "d").mkdir()
            (tmp_path / "d" / "x").write_bytes(b"x" * 200_000)
            with pytest.raises(QuotaExceeded, match=r"quota of 97\.7 KiB"):
                hub.datasets.upload(hub.datasets.create("d").id, tmp_path / "d")
    until(lambda: not ours(state), "the service ends with its hub")


def test_a_bad_value_is_told_in_one_sentence(tmp_path: Path) -> None:
    with jupyterhub(tmp_path, "'5 GB'") as process:
        assert process.wait(60) != 0
    said = (tmp_path / "log").read_text()
    assert "The 'dataset_quota_bytes' setting of c.NablaHub expected an int" in said
    assert "Traceback" not in said
