"""Settings of ``c.NablaHub``: what the service is told, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from traitlets.config import Config

import nablahub_hub
from nablahub.core.settings import Settings
from nablahub.core.state import StateDir
from nablahub_hub import NablaHub
from nablahub_hub.local.config import LocalConfig
from nablahub_hub.local.reading import BadConfiguration, read
from nablahub_hub.settings import BadSetting


def settings(root: Path, **values: object) -> NablaHub:
    c = Config()
    c.NablaHub.state_dir = str(root)
    c.NablaHub.update(values)
    return NablaHub.read(c)


def told(root: Path, **values: object) -> Settings:
    """Install a configuration and read what the service then reads."""
    c = Config()
    c.NablaHub.state_dir = str(root)
    c.NablaHub.update(values)
    nablahub_hub.install(c)
    return Settings.load(StateDir(root).settings)


def test_without_a_word_the_service_has_its_own_defaults(tmp_path: Path) -> None:
    found = told(tmp_path)
    own = {n: f.default for n, f in Settings.model_fields.items() if not f.is_required()}
    changed = {name for name, value in own.items() if getattr(found, name) != value}
    assert changed == {"proxy_url", "service_port"}
    assert found.environments == StateDir(tmp_path).environments


def test_each_setting_reaches_the_service(tmp_path: Path) -> None:
    values: dict[str, object] = {
        "dataset_quota_bytes": 1, "min_free_bytes": 2, "event_retention": 3, "max_body_bytes": 4096,
        "max_upload_bytes": 5, "introspection_seconds": 6.5, "unsandboxed": True,
        "service_host": "127.0.0.3", "runner": "kubernetes", "public_url": "https://hub.example.org",
    }  # fmt: skip
    found = told(tmp_path / "s", environments_dir=str(tmp_path / "e"), **values)
    assert {name: getattr(found, name) for name in values} == values
    assert found.environments == tmp_path / "e"
    assert found.api_url == "https://hub.example.org/services/nablahub"
    assert found.local_url.startswith("http://127.0.0.1:")


def test_servers_are_told_where_environments_are(tmp_path: Path) -> None:
    c = Config()
    c.NablaHub.state_dir = str(tmp_path)
    c.NablaHub.environments_dir = "~/environments"
    nablahub_hub.install(c)
    assert c.SandboxedSpawner.environments_dir == str(Path.home() / "environments")


def test_a_changed_configuration_changes_what_was_written(tmp_path: Path) -> None:
    assert told(tmp_path, service_port=5001).service_port == 5001
    assert told(tmp_path, service_port=5002).service_port == 5002
    local = LocalConfig.load(StateDir(tmp_path))
    assert local is not None
    assert local.service_url == "http://127.0.0.1:5002"
    assert told(tmp_path).service_port == 5002


@pytest.mark.parametrize(
    ("hub", "own", "url"),
    [
        ({}, {}, "http://127.0.0.1:8000"),
        ({"public_url": "https://a.example/"}, {}, "https://a.example"),
        ({"public_url": "https://a.example/"}, {"public_url": "https://b.example"}, "https://b.example"),
        ({"bind_url": "http://:8123"}, {"proxy": "keep"}, "http://127.0.0.1:8123"),
        ({"bind_url": "https://c.example"}, {"proxy": "keep"}, "https://c.example"),
    ],
)  # fmt: skip
def test_what_people_type(
    tmp_path: Path, hub: dict[str, str], own: dict[str, str], url: str
) -> None:
    c = Config()
    c.NablaHub.state_dir = str(tmp_path)
    c.NablaHub.update(own)
    c.JupyterHub.update(hub)
    local = LocalConfig(
        session="s", owner="o", port=8000, hub_port=1, traefik_port=2, service_port=3
    )
    assert NablaHub.read(c).public(local) == url


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("dataset_quota_bytes", "5 GB", "expected an int, not the str"),
        ("dataset_quota_bytes", -1, "should not be less than 0"),
        ("max_body_bytes", 10, "should not be less than 1024"),
        ("introspection_seconds", 60, "should not be greater than 10"),
        ("service_port", 70_000, "should not be greater than 65535"),
        ("service_host", "localhost", "is an IPv4 address, not 'localhost'"),
        ("advertise", "localhost", "is an IPv4 address of this machine that pods reach"),
        ("advertise", "127.0.0.1", "is an IPv4 address of this machine that pods reach"),
        ("advertise", "0.0.0.0", "is an IPv4 address of this machine that pods reach"),
        ("public_url", "hub.example.org", "is a scheme and a host"),
        ("public_url", "https://hub.example.org/jupyter", "without a path"),
        ("environments_dir", "environments", "is an absolute path, not 'environments'"),
        ("unsandboxed", "yes", "expected a boolean, not the str 'yes'"),
        ("instance_types_file", "types.yaml", "an absolute path"),
        ("proxy", "nginx", "'traefik', 'keep'"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    tmp_path: Path, name: str, value: object, said: str
) -> None:
    with pytest.raises(BadSetting) as found:
        settings(tmp_path, **{name: value})
    assert f"'{name}' setting of c.NablaHub" in found.value.detail
    assert said in found.value.detail
    assert "\n" not in found.value.detail


def test_a_slip_in_a_name_is_refused_with_what_was_meant(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match=r"no setting c\.NablaHub\.dataset_qouta_bytes") as found:
        settings(tmp_path, dataset_qouta_bytes=1)
    assert found.value.hint == "Did you mean dataset_quota_bytes?"


async def test_flags_win_and_what_comes_after_install_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "sub.py").write_text("c.NablaHub.cookie_days = 3\n")
    own = tmp_path / "jupyterhub_config.py"
    own.write_text(
        "print('not the answer')\n"
        "load_subconfig('sub.py')\n"
        "c.NablaHub.port = 1\nc.NablaHub.event_retention = 7\n"
        "import nablahub_hub\nnablahub_hub.install(c)\n"
        "open('made', 'w')\n"
    )
    found = await read(own, {"port": 2}, cwd=tmp_path, env={"HOME": str(tmp_path)})
    assert (found.port, found.event_retention, found.cookie_days) == (2, 7, 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["jupyterhub_config.py", "sub.py"]


async def test_a_file_that_fails_names_its_line(tmp_path: Path) -> None:
    own = tmp_path / "jupyterhub_config.py"
    own.write_text("\nx = (\n")
    with pytest.raises(BadConfiguration, match=r"jupyterhub_config\.py, line 2: SyntaxError"):
        await read(own, {}, cwd=tmp_path, env={})
