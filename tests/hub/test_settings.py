"""What a ``jupyterhub_config.py`` says about a NablaHub holds for its hub, service and jobs."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from nablahub.client import Hub, connect
from nablahub.core.errors import QuotaExceeded
from nablahub.jobs.types import JobSpec
from nablahub_hub.local.config import free_ports
from tests.support.hub import CONFIG, RunningHub, ours, run, running
from tests.support.namespaces import NO_NAMESPACES, needs_unshare

pytestmark = pytest.mark.hub

INSTALL = "import nablahub_hub\nnablahub_hub.install(c)\n"


def config(folder: Path, *settings: str, rest: str = INSTALL) -> Path:
    """Write a configuration with such lines for ``c.NablaHub``."""
    path = folder / "jupyterhub_config.py"
    path.write_text("".join(f"c.NablaHub.{line}\n" for line in settings) + rest)
    return path


def upload(hub: Hub, folder: Path, size: int) -> None:
    """Store that many bytes as a dataset."""
    folder.mkdir()
    (folder / "x").write_bytes(b"x" * size)
    hub.datasets.upload(hub.datasets.create(folder.name).id, folder)


def test_a_quota_is_kept_and_a_changed_one_holds_from_the_next_up(tmp_path: Path) -> None:
    (tmp_path / "quota.py").write_text("c.NablaHub.dataset_quota_bytes = 100_000\n")
    low = config(tmp_path, rest="load_subconfig('quota.py')\n" + INSTALL)
    with running(tmp_path / "s", low) as hub, connect(state=hub.state) as client:
        upload(client, tmp_path / "fits", 60_000)
        with pytest.raises(QuotaExceeded, match=r"quota of 97\.7 KiB"):
            upload(client, tmp_path / "more", 60_000)
    higher = config(tmp_path, "dataset_quota_bytes = 200_000")
    with running(tmp_path / "s", higher) as hub, connect(state=hub.state) as client:
        upload(client, tmp_path / "now", 60_000)


@pytest.mark.slow
def test_a_changed_setting_holds_although_the_service_still_runs(tmp_path: Path) -> None:
    with running(tmp_path / "s", config(tmp_path, "max_body_bytes = 10_000")) as hub:
        assert hub.process is not None
        hub.process.send_signal(signal.SIGKILL)
        hub.process.communicate()
        config(tmp_path, "max_body_bytes = 2_000")
        hub.up()
        with connect(state=hub.state) as client:
            token = json.loads(hub.state.client.read_text())["token"]
            answer = httpx.post(
                f"{hub.service_url}/api/v1/projects", content=b" " * 3_000, trust_env=False,
                headers={"Authorization": f"Bearer {token}"},
            )  # fmt: skip
            assert answer.status_code == 413
            assert client.projects.create("small").name == "small"


@pytest.mark.slow
@needs_unshare
def test_jobs_and_servers_run_bare_when_the_configuration_accepts_it(tmp_path: Path) -> None:
    path = config(tmp_path, "unsandboxed = True", rest=CONFIG.read_text())
    with running(tmp_path / "s", path, wrapper=NO_NAMESPACES) as hub:
        client = hub.client()
        project = client.projects.create("p").id
        spec = JobSpec(project_id=project, command=["sh", "-c", "pwd"], instance_type="C3")
        job = client.jobs.wait(client.jobs.submit(spec).id)
        assert (job.state, job.message) == ("Succeeded", "")
        assert client.jobs.log(job.id).splitlines()[-1].startswith(f"{hub.state.jobs}/")
        server = hub.spawn("alice")
        assert server.shell("pwd").strip().startswith(str(hub.state.homes))


def test_a_public_url_is_what_people_are_told(tmp_path: Path) -> None:
    public = "https://hub.example.org"
    path = config(tmp_path, f"public_url = {public!r}")
    with running(tmp_path / "s", path) as hub:
        assert hub.told["url"] == public
        link = urlsplit(hub.told["sign_in"])
        assert (link.scheme, link.netloc) == ("https", "hub.example.org")
        status = json.loads(run("status", "--json", "--state-dir", str(hub.state.root)).stdout)
        assert status["url"] == public
        again = json.loads(run("up", "--json", "--state-dir", str(hub.state.root)).stdout)
        assert again["sign_in"].startswith(f"{public}/hub/nablahub/sign-in/")
        # As the web server in front of it asks.
        front = {"X-Forwarded-Proto": "https", "Host": "hub.example.org"}
        answer = httpx.get(hub.url + link.path, headers=front, trust_env=False)
        assert answer.status_code == 302
        [login] = [
            cookie
            for cookie in answer.headers.get_list("set-cookie")
            if cookie.startswith("jupyterhub-hub-login")
        ]
        assert "secure" in login.lower()
        with connect(state=hub.state) as client:
            upload(client, tmp_path / "d", 10)
            remote = client.datasets.export_dvc("d").url
            assert remote.startswith(f"{public}/services/nablahub/dvc/")


def test_flags_win_over_the_configuration(tmp_path: Path) -> None:
    [port, other] = free_ports(2)
    elsewhere = tmp_path / "elsewhere"
    path = config(tmp_path, f"state_dir = {str(elsewhere)!r}", f"port = {other}")
    hub = RunningHub(tmp_path / "s", path, "--port", str(port)).up()
    try:
        assert urlsplit(hub.told["url"]).port == port
        assert hub.told["state_dir"] == str(tmp_path / "s")
        assert not elsewhere.exists()
    finally:
        hub.down()


@pytest.mark.slow
def test_the_service_listens_where_it_is_told(tmp_path: Path) -> None:
    [port] = free_ports(1)
    path = config(tmp_path, "service_host = '127.0.0.2'", f"service_port = {port}")
    with running(tmp_path / "s", path) as hub, connect(state=hub.state) as client:
        assert client.whoami()["name"]
        health = f"http://127.0.0.2:{port}/services/nablahub/health"
        assert httpx.get(health, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("settings", "rest", "said"),
    [
        ("c.NablaHub.dataset_quota_bytes = '5 GB'\n", INSTALL, "line 3: The 'dataset_quota_bytes'"),
        ("c.NablaHub.min_free_bytes = -1\n", INSTALL, "'min_free_bytes' setting of c.NablaHub"),
        ("c.NablaHub.qouta = 1\n", INSTALL, "There is no setting c.NablaHub.qouta."),
        ("import nonsuch\n", INSTALL, "line 1: ModuleNotFoundError: No module named 'nonsuch'"),
        ("c.NablaHub.port = 0\n", "", "does not call nablahub_hub.install(c)"),
        ("raise SystemExit(3)\n", INSTALL, "(status 3)"),
        ("c.NablaHub.proxy = 'keep'\n", INSTALL, "start this hub with `jupyterhub -f`"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(
    tmp_path: Path, settings: str, rest: str, said: str
) -> None:
    path = tmp_path / "jupyterhub_config.py"
    path.write_text(settings + rest)
    done = run("up", "--state-dir", str(tmp_path / "s"), "--config", str(path), "--port", "0")
    assert done.returncode == 1
    assert said in done.stderr
    assert str(path) in done.stderr
    assert "Traceback" not in done.stderr
    assert not ours(RunningHub(tmp_path / "s").state)


def test_a_state_directory_that_only_the_configuration_names_is_pointed_out(tmp_path: Path) -> None:
    named = str(tmp_path / "named")
    path = config(tmp_path, f"state_dir = {named!r}")
    done = run("up", "--config", str(path), "--port", "0", XDG_DATA_HOME=str(tmp_path / "data"))
    assert done.returncode == 1
    assert f"--state-dir {named}" in done.stderr
