"""``install(c)``: what turns a JupyterHub configuration into a NablaHub's."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL
from traitlets.config import Config

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.core.state import StateDir
from nablahub_hub import adding, apart, links
from nablahub_hub.auth import LocalAuthenticator
from nablahub_hub.local import procfs
from nablahub_hub.local.config import LocalConfig, choose, ensure_secrets
from nablahub_hub.local.files import environment, service_command, write_service_settings
from nablahub_hub.scopes import SERVICE, SUPERVISOR, roles
from nablahub_hub.settings import NablaHub, given
from nablahub_spawner.spawner import SandboxedSpawner


def install(c: Config) -> NablaHub:
    """Make the hub of this configuration a NablaHub.

    Call it in ``jupyterhub_config.py`` after your own ``c.NablaHub.…`` settings; what is set
    after it wins over it::

        import nablahub_hub

        nablahub_hub.install(c)

    Parameters
    ----------
    c : traitlets.config.Config
        The configuration object of ``jupyterhub_config.py``.

    Returns
    -------
    NablaHub
        The settings as they were read.

    Raises
    ------
    BadSetting
        When a setting has a value that it cannot have.
    nablahub.core.errors.NablaError
        When the state directory cannot be used, or a service elsewhere has no token.
    """
    settings = NablaHub.read(c)
    if settings.service_url:
        apart.install(c, settings)
        return settings
    state = settings.state.make()
    ensure_secrets(state)
    local = choose(
        state,
        port=settings.port or None,
        next_free=False,
        ours=lambda _port: True,  # they are taken when they are bound, not here
        say=_ignore,
        hub_host=settings.hub_address,
        service=(settings.service_address, settings.service_port),
    )
    write_service_settings(state, local, settings)
    _hub(c, settings, state, local)
    if settings.proxy == "traefik":
        _proxy(c, state, local)
    owner = _authentication(c, settings, state, local)
    _services(c, settings, state, local, owner)
    if settings.sandboxed_servers:
        _spawner(c, settings, state, local)
    return settings


def _ignore(_sentence: str) -> None:
    """Nobody has to be told about ports that are chosen for the first time."""


def _hub(c: Config, settings: NablaHub, state: StateDir, local: LocalConfig) -> None:
    hub = c.JupyterHub
    hub.hub_bind_url = local.hub_url
    hub.hub_connect_url = local.hub_url
    if settings.public_url and not given(hub, "public_url"):
        hub.public_url = f"{settings.public_url}/"
    database = URL.create("sqlite", database=str(state.hub / "jupyterhub.sqlite"))
    hub.db_url = database.render_as_string(hide_password=False)
    hub.cookie_secret_file = str(state.secrets / "cookie_secret")
    hub.cookie_max_age_days = settings.cookie_days
    # A hub that goes down, or is killed, ends nobody's server: `nablahub down` does.
    hub.cleanup_servers = False
    hub.cleanup_proxy = False
    adding.add_pages(hub)


def _proxy(c: Config, state: StateDir, local: LocalConfig) -> None:
    c.JupyterHub.bind_url = local.proxy_url
    c.JupyterHub.proxy_class = "nablahub_hub.proxy.RoutesProxy"
    proxy = c.TraefikFileProviderProxy
    # Started by the supervisor: a Traefik that is the hub's child would hold the ports after the
    # hub was killed, and the next hub could not start its own.
    proxy.should_start = False
    proxy.dynamic_config_file = str(state.traefik_dynamic / "hub.toml")
    proxy.traefik_api_url = local.traefik_url
    proxy.traefik_api_username = "nablahub"
    proxy.traefik_api_password = state.secret("proxy_api_password")
    proxy.traefik_api_hashed_password = state.secret("proxy_api_password_hash")
    proxy.traefik_entrypoint = "http"


def _authentication(
    c: Config, settings: NablaHub, state: StateDir, local: LocalConfig
) -> str | None:
    if settings.authentication == "keep" or "authenticator_class" in c.JupyterHub:
        return None
    c.JupyterHub.authenticator_class = LocalAuthenticator
    c.LocalAuthenticator.admin_users = {local.owner}
    c.LocalAuthenticator.allowed_users = {local.owner}
    c.LocalAuthenticator.admin_password = state.secret("admin_password")
    c.LocalAuthenticator.links_folder = str(links.folder(state))
    return local.owner


def _services(
    c: Config, settings: NablaHub, state: StateDir, local: LocalConfig, owner: str | None
) -> None:
    hub = c.JupyterHub
    kept_alive = _managed(state, local) if settings.service == "managed" else adding.EXTERNAL
    token = state.secret("service_token")
    services = [adding.service_entry(local.service_url, token, kept_alive)]
    culler = settings.idle_culler or settings.sandboxed_servers
    if culler:
        services.append(adding.culler_entry(settings, {procfs.SESSION: local.session}))
    services.append({"name": SUPERVISOR, "api_token": state.secret("up_token"), "display": False})
    adding.extend(hub, "services", services)
    adding.add_roles(hub, roles(owner, culler=culler))


def _managed(state: StateDir, local: LocalConfig) -> dict[str, Any]:
    """Return what lets the hub itself keep the service alive."""
    return {
        "command": list(service_command(state)),
        "cwd": str(state.service),
        "environment": {**environment(), procfs.SESSION: local.session},
    }


def _spawner(c: Config, settings: NablaHub, state: StateDir, local: LocalConfig) -> None:
    spawner = c.NablaSpawner
    spawner.state_dir = str(state.root)
    spawner.service_url = f"{local.service_url}/services/{SERVICE}"
    spawner.default_instance_type = settings.default_instance_type
    spawner.idle_timeout = settings.idle_timeout if settings.idle_culler else 0
    spawner.other_idle_timeout = adding.others_idle_timeout(c.JupyterHub)
    spawner.instance_types_file = settings.instance_types_file or str(state.instance_types)
    if settings.spawner == "kubernetes":
        # Only here: its libraries are an extra, and slow to import.
        from nablahub_spawner.kubernetes.spawner import NablaKubeSpawner

        c.JupyterHub.spawner_class = NablaKubeSpawner
        if settings.advertise and "namespace" not in c.NablaKubeSpawner:
            c.NablaKubeSpawner.namespace = settings.cluster.namespace
        if settings.runner == "kubernetes":
            _share_storage(c, settings.cluster)
        return
    c.JupyterHub.spawner_class = SandboxedSpawner
    c.SandboxedSpawner.environments_dir = settings.environments_dir
    c.SandboxedSpawner.unsandboxed = settings.unsandboxed


def _share_storage(c: Config, jobs: KubernetesSettings) -> None:
    """Let servers see the ``/storage`` of jobs, unless the spawner was told otherwise before."""
    wanted = {
        "namespace": jobs.namespace,
        "hub_name": jobs.hub,
        "team_storage_capacity": jobs.storage_size,
        "team_storage_class": jobs.storage_class,
        "team_storage_access_modes": [jobs.access_mode],
        "dataset_cache_claim": jobs.cache_claim or "",
        "dataset_cache_capacity": jobs.cache_size,
    }
    for name, value in wanted.items():
        if not given(c.NablaKubeSpawner, name) and not given(c.KubeSpawner, name):
            c.NablaKubeSpawner[name] = value
