"""``install(c)``: what three lines make of anybody's configuration."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from jupyterhub.app import JupyterHub
from traitlets.config import Config

import nablahub_hub
from nablahub.core.instances import InstanceType
from nablahub_hub.apart import NoServiceToken
from nablahub_hub.auth import LocalAuthenticator
from nablahub_hub.local.config import LocalConfig
from nablahub_hub.scopes import SERVER_SCOPES, USER_SCOPES
from nablahub_spawner.kubernetes.spawner import NablaKubeSpawner
from nablahub_spawner.spawner import SandboxedSpawner


def installed(root: Path, **settings: object) -> Config:
    c = Config()
    c.NablaHub.state_dir = str(root)
    for name, value in settings.items():
        c.NablaHub[name] = value
    nablahub_hub.install(c)
    return c


def test_a_bare_configuration_becomes_a_nablahub(tmp_path: Path) -> None:
    root = tmp_path / "with space"
    c = installed(root)
    local = LocalConfig.load(nablahub_hub.NablaHub(config=c).state)
    assert local is not None
    assert c.JupyterHub.hub_bind_url == local.hub_url
    assert c.JupyterHub.authenticator_class is LocalAuthenticator
    assert c.LocalAuthenticator.admin_users == {local.owner}
    assert c.JupyterHub.spawner_class is SandboxedSpawner
    assert c.TraefikFileProviderProxy.should_start is False
    assert Path(c.TraefikFileProviderProxy.dynamic_config_file).parent == (
        root / "traefik" / "dynamic"
    )
    assert {s["name"] for s in c.JupyterHub.services} == {
        "nablahub", "nablahub-idle-culler", "nablahub-up",
    }  # fmt: skip
    assert c.JupyterHub.extra_user_scopes == set(USER_SCOPES)
    assert root.stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in (root / "secrets").iterdir()} == {0o600}


def test_every_name_it_sets_exists_in_jupyterhub(tmp_path: Path) -> None:
    c = installed(tmp_path)
    assert set(c.JupyterHub) <= set(JupyterHub.class_traits())
    assert set(c.SandboxedSpawner) <= set(SandboxedSpawner.class_traits())
    assert set(c.NablaSpawner) <= set(SandboxedSpawner.class_traits())
    assert set(c.LocalAuthenticator) <= set(LocalAuthenticator.class_traits())


def test_servers_are_pods_where_that_is_chosen(tmp_path: Path) -> None:
    c = installed(tmp_path, spawner="kubernetes", default_instance_type="C5")
    assert c.JupyterHub.spawner_class is NablaKubeSpawner
    assert c.NablaSpawner.default_instance_type == "C5"
    assert "SandboxedSpawner" not in c
    assert set(c.NablaSpawner) <= set(NablaKubeSpawner.class_traits())


def test_servers_and_jobs_that_are_pods_share_what_teams_store(tmp_path: Path) -> None:
    c = Config()
    c.NablaHub.state_dir = str(tmp_path)
    c.NablaHub.spawner = c.NablaHub.runner = "kubernetes"
    c.NablaHub.kubernetes = {"namespace": "work", "hub": "lab", "access_mode": "ReadWriteMany"}
    c.KubeSpawner.namespace = "mine"
    nablahub_hub.install(c)
    told = c.NablaKubeSpawner
    assert (told.hub_name, told.team_storage_access_modes) == ("lab", ["ReadWriteMany"])
    assert "namespace" not in told  # what was said of servers stays
    assert set(told) <= set(NablaKubeSpawner.class_traits())


def test_what_was_there_stays(tmp_path: Path) -> None:
    c = Config()
    c.NablaHub.state_dir = str(tmp_path)
    c.JupyterHub.authenticator_class = "pam"
    c.JupyterHub.services = [{"name": "mine", "api_token": "x" * 32}]
    c.JupyterHub.load_roles = [
        {"name": "mine", "scopes": ["read:hub"], "services": ["mine"]},
        {"name": "user", "scopes": ["self", "shares"]},
    ]
    c.JupyterHub.custom_scopes = {"custom:mine": {"description": "mine"}}
    c.JupyterHub.template_paths = ["/mine"]
    nablahub_hub.install(c)
    assert c.JupyterHub.authenticator_class == "pam"
    assert c.JupyterHub.services[0]["name"] == "mine"
    roles = {role["name"]: role["scopes"] for role in c.JupyterHub.load_roles}
    assert roles["mine"] == ["read:hub"]
    assert roles["user"] == ["self", "shares", *USER_SCOPES]
    assert roles["server"] == list(SERVER_SCOPES)
    assert "custom:mine" in c.JupyterHub.custom_scopes
    assert c.JupyterHub.template_paths[0] == "/mine"


def test_secrets_and_ports_are_made_once(tmp_path: Path) -> None:
    first, second = installed(tmp_path), installed(tmp_path)
    assert first == second


def test_switches(tmp_path: Path) -> None:
    c = installed(
        tmp_path, idle_culler=False, proxy="keep", authentication="keep", sandboxed_servers=False
    )
    assert "nablahub-idle-culler" not in {s["name"] for s in c.JupyterHub.services}
    assert not {"proxy_class", "authenticator_class", "spawner_class"} & set(c.JupyterHub)


def test_limits_of_instance_types_are_kept_where_idle_servers_are_not_stopped(
    tmp_path: Path,
) -> None:
    c = installed(tmp_path, idle_culler=False)
    (culler,) = (s for s in c.JupyterHub.services if s["name"] == "nablahub-idle-culler")
    assert f"--timeout={10 * 365 * 86400}" in culler["command"]
    assert c.NablaSpawner.idle_timeout == 0
    assert installed(tmp_path).NablaSpawner.idle_timeout == 6 * 3600


@pytest.mark.parametrize(
    ("command", "seconds"),
    [
        (["python3", "-m", "jupyterhub_idle_culler", "--timeout=3600", "--max-age=5"], 3600),
        (["jupyterhub-idle-culler", "--timeout", "900"], 900),
        (["python3", "-m", "jupyterhub_idle_culler", "--cull-every=60"], 600),
        (["python3", "-m", "other", "--timeout=60"], 0),
        (None, 0),
    ],
)
def test_servers_are_told_of_an_idle_culler_that_is_not_ours(
    tmp_path: Path, command: list[str] | None, seconds: int
) -> None:
    c = Config()
    c.NablaHub.state_dir = str(tmp_path)
    c.JupyterHub.services = [{"name": "theirs", "command": command}]
    nablahub_hub.install(c)
    assert c.NablaSpawner.other_idle_timeout == seconds


@pytest.mark.parametrize(
    ("own", "of_hub", "of_other", "told"),
    [(None, 0, 0, None), (None, 600, 0, "600"), (5, 600, 0, "300"), (None, 0, 3600, "3600"),
     (90, 0, 3600, "3600"), (5, 0, 3600, "300")],
)  # fmt: skip
def test_the_first_to_stop_an_idle_server_is_what_it_is_told(
    own: int | None, of_hub: int, of_other: int, told: str | None
) -> None:
    spawner = SandboxedSpawner(idle_timeout=of_hub, other_idle_timeout=of_other)
    spawner.kind = InstanceType("C4", 2, 4, idle_minutes=own)
    spawner.orm_spawner = None
    assert spawner.limit_variables().get("NABLAHUB_IDLE_SECONDS") == told


def test_every_setting_is_documented() -> None:
    for name, trait in nablahub_hub.NablaHub.class_own_traits(config=True).items():
        assert len(str(trait.help).split()) >= 4, name


def test_a_path_with_odd_characters_is_a_database_url(tmp_path: Path) -> None:
    root = tmp_path / "a b%20c#d?e"
    c = installed(root)
    from sqlalchemy import create_engine

    engine = create_engine(c.JupyterHub.db_url)
    with engine.connect() as connection:
        connection.exec_driver_sql("create table t (x)")
    engine.dispose()
    with sqlite3.connect(root / "hub" / "jupyterhub.sqlite") as file:
        assert file.execute("select count(*) from t").fetchone() == (0,)
    file.close()


def test_a_service_elsewhere_leaves_the_hub_its_addresses(tmp_path: Path) -> None:
    c = Config()
    c.JupyterHub.services = [{"name": "mine", "api_token": "x" * 32}]
    c.JupyterHub.spawner_class = "simple"
    c.NablaHub.state_dir = str(tmp_path / "none")
    c.NablaHub.service_url = "http://nablahub-service:8000"
    c.NablaHub.service_token = "s" * 64
    c.NablaHub.idle_culler = False
    nablahub_hub.install(c)
    assert not (tmp_path / "none").exists()
    assert set(c.JupyterHub) == {
        "services", "spawner_class", "template_paths", "custom_scopes", "load_roles",
        "extra_user_scopes",
    }  # fmt: skip
    mine, ours = c.JupyterHub.services
    assert mine["name"] == "mine"
    assert (ours["url"], ours["api_token"]) == ("http://nablahub-service:8000", "s" * 64)
    assert {role["name"] for role in c.JupyterHub.load_roles} == {"server", "nablahub-service"}


def test_a_service_elsewhere_may_have_our_culler() -> None:
    c = Config()
    c.NablaHub.service_url = "http://nablahub-service:8000"
    c.NablaHub.service_token = "s" * 64
    nablahub_hub.install(c)
    assert [s["name"] for s in c.JupyterHub.services] == ["nablahub", "nablahub-idle-culler"]
    assert "nablahub-idle-culler" in {role["name"] for role in c.JupyterHub.load_roles}


def test_a_service_elsewhere_needs_its_token() -> None:
    c = Config()
    c.NablaHub.service_url = "http://nablahub-service:8000"
    with pytest.raises(NoServiceToken, match="service_token is empty"):
        nablahub_hub.install(c)
