"""Every setting of a NablaHub, as traitlets on one configurable."""

from __future__ import annotations

from difflib import get_close_matches
from ipaddress import AddressValueError, IPv4Address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ValidationError
from traitlets import (
    Bool,
    Enum,
    Float,
    Integer,
    TraitError,
    Unicode,
    default,
    validate,
)
from traitlets.config import Config, Configurable
from traitlets.config.loader import LazyConfigValue

from nablahub.core.engines import BadDatabase, parse
from nablahub.core.errors import NablaError
from nablahub.core.instances import DEFAULT_INSTANCE
from nablahub.core.kubernetes import KubernetesSettings, beside
from nablahub.core.settings import Settings
from nablahub.core.state import StateDir, default_state_dir
from nablahub.core.storesettings import ObjectStoreSettings
from nablahub_hub.local.config import HOST, LocalConfig
from nablahub_hub.traits import of_service

#: Settings that are dictionaries, and what each may hold.
MODELS: dict[str, type[BaseModel]] = {
    "kubernetes": KubernetesSettings,
    "object_store": ObjectStoreSettings,
}
#: What `nablahub up` says to this process by its flags; it wins over every configuration file.
_FLAGS: dict[str, Any] = {}


class BadSetting(NablaError, TraitError):
    """A setting of ``jupyterhub_config.py`` has a value it cannot have, or does not exist."""

    code = "bad_setting"
    title = "A setting is wrong"


def overrule(**flags: Any) -> None:
    """Let settings have these values in this process, whatever a configuration file says."""
    _FLAGS.update(flags)


def given(section: Config, name: str) -> bool:
    """Whether a configuration sets an option outright, and not only adds to it."""
    return name in section and not isinstance(section[name], LazyConfigValue)


class NablaHub(Configurable):
    """Settings of a NablaHub: ``c.NablaHub.<name> = …`` before ``nablahub_hub.install(c)``."""

    state_dir = Unicode(
        help="""
        Folder that holds everything this hub keeps (mode 0700).

        Default: ``$NABLAHUB_STATE_DIR``, else ``~/.local/share/nablahub``.
        """
    ).tag(config=True)

    @default("state_dir")
    def _default_state_dir(self) -> str:
        return str(default_state_dir())

    service_url = of_service("service_url")

    service_token = Unicode(
        help="""
        The hub's API token of a service on another machine (see ``service_url``), of 32
        characters or more.
        """
    ).tag(config=True)

    port = Integer(
        0,
        min=0,
        max=65535,
        help="""
        Public port on the loopback address; 0 takes the one used before, else 8000.
        ``nablahub up --port`` wins over it.
        """,
    ).tag(config=True)

    public_url = Unicode(
        help="""
        What people type when a web server stands in front of the hub, such as
        ``https://hub.example.org``: links, addresses of deployments and what the API tells begin
        with it. The hub then believes the ``X-Forwarded-`` headers that come from this machine.

        Default: ``c.JupyterHub.public_url``, else ``http://127.0.0.1:<port>``.
        """
    ).tag(config=True)

    advertise = Unicode(
        help="""
        IPv4 address of this machine at which a cluster's pods reach it. Hub and service then listen
        there and nowhere else, and before ``nablahub up`` starts anything it checks that both sides
        reach each other. ``nablahub up --advertise`` wins over it. Empty: hub and service are for
        this machine only.
        """
    ).tag(config=True)

    service_host = of_service("service_host")
    service_port = of_service("service_port")
    metrics_port = of_service("metrics_port")

    service = Enum(
        ["managed", "external"],
        default_value="managed",
        help="""
        ``managed``: the hub starts the service and keeps it alive. ``external``: something else
        does (``python -m nablahub.service --state-dir DIR``); under ``nablahub up`` it always is
        that one.
        """,
    ).tag(config=True)

    proxy = Enum(
        ["traefik", "keep"],
        default_value="traefik",
        help="""
        ``traefik``: Traefik, which ``nablahub up`` starts, with its routes in the state
        directory. ``keep``: leave ``c.JupyterHub.proxy_class`` alone (deployments then need a
        Traefik of yours that reads ``traefik/dynamic``).
        """,
    ).tag(config=True)

    authentication = Enum(
        ["local", "keep"],
        default_value="local",
        help="""
        ``local``: the operating system's user is the only one and the administrator; one-time
        links and the password in ``secrets/admin_password`` sign in. ``keep``: the
        authenticator that this file names. An authenticator named before ``install(c)`` is kept
        in any case.
        """,
    ).tag(config=True)

    spawner = Enum(
        ["local", "kubernetes"],
        default_value="local",
        help="""
        ``local``: single-user servers are sandboxed processes of this machine, by
        nablahub_spawner.SandboxedSpawner. ``kubernetes``: they are pods, by NablaKubeSpawner,
        which the extra ``[kubernetes]`` brings; its settings are ``c.NablaKubeSpawner.…``.
        """,
    ).tag(config=True)

    sandboxed_servers = Bool(
        True,
        help="""
        Start single-user servers by the spawner named above; False leaves
        ``c.JupyterHub.spawner_class`` alone.
        """,
    ).tag(config=True)

    runner = of_service("runner")
    kubernetes = of_service("kubernetes")
    unsandboxed = of_service("unsandboxed")
    environments_dir = of_service("environments_dir")
    database_url = of_service("database_url")
    database_password_file = of_service("database_password_file")
    migrate_at_start = of_service("migrate_at_start")
    proxy_token_file = of_service("proxy_token_file")
    object_store = of_service("object_store")
    allow_private_addresses = of_service("allow_private_addresses")
    routes_config_map = of_service("routes_config_map")
    bucket_mounts = of_service("bucket_mounts")
    dataset_quota_bytes = of_service("dataset_quota_bytes")
    dataset_cache_size = of_service("dataset_cache_size")
    storage_quota_bytes = of_service("storage_quota_bytes")
    home_quota_bytes = of_service("home_quota_bytes")
    usage_scan_seconds = of_service("usage_scan_seconds")
    max_upload_bytes = of_service("max_upload_bytes")
    max_body_bytes = of_service("max_body_bytes")
    min_free_bytes = of_service("min_free_bytes")
    event_retention = of_service("event_retention")
    introspection_seconds = of_service("introspection_seconds")

    default_instance_type = Unicode(
        DEFAULT_INSTANCE, help="Instance type that is chosen on a user's first visit."
    ).tag(config=True)

    instance_types_file = of_service("instance_types_file")
    dataset_catalog_file = of_service("dataset_catalog_file")

    idle_culler = Bool(
        True,
        help="""
        Stop servers that nobody has used for ``idle_timeout``. Without it servers are stopped by
        the limits of their instance types alone: its longest run and its idle limit.
        """,
    ).tag(config=True)

    idle_timeout = Integer(
        6 * 3600,
        min=1,
        help="""
        Time without activity after which a server is stopped; an instance type may say another
        time by its ``idle_minutes``.
        """,
    ).tag(config=True, unit="seconds")

    idle_check_interval = Integer(
        60, min=1, help="Time between two looks at idle servers (at most a tenth of the timeout)."
    ).tag(config=True, unit="seconds")

    cookie_days = Float(7.0, min=0, help="Time until a sign-in ends.").tag(config=True, unit="days")

    @classmethod
    def read(cls, c: Config) -> NablaHub:
        """Return the settings that a configuration makes, with what `overrule` was told.

        Parameters
        ----------
        c : traitlets.config.Config
            The configuration object of ``jupyterhub_config.py``.

        Raises
        ------
        BadSetting
            In one sentence that names the setting.
        """
        section = Config({**c.NablaHub, **_FLAGS})
        for name in section:
            if name not in cls.class_trait_names(config=True):
                raise BadSetting(f"There is no setting c.NablaHub.{name}.", hint=_meant(cls, name))
        if not section.get("public_url"):
            section.public_url = _url_of_hub(c.JupyterHub, section.get("proxy") == "keep")
        try:
            return cls(config=Config({cls.__name__: section}))
        except TraitError as error:
            said = str(error).replace("trait of a NablaHub instance", "setting of c.NablaHub")
            raise BadSetting(said if said.endswith(".") else f"{said}.") from error

    @validate("public_url")
    def _check_public_url(self, proposal: Any) -> str:
        url = str(proposal["value"]).rstrip("/")
        parts = urlsplit(url)
        bare = not (parts.path or parts.query or parts.fragment or parts.username)
        if url and not (parts.scheme in ("http", "https") and parts.hostname and bare):
            raise TraitError(
                "The 'public_url' trait of a NablaHub instance is a scheme and a host, such as "
                f"https://hub.example.org, without a path; not {url!r}"
            )
        return url

    @validate("service_host")
    def _check_service_host(self, proposal: Any) -> str:
        try:
            return str(IPv4Address(proposal["value"]))
        except AddressValueError as error:
            raise TraitError(
                "The 'service_host' trait of a NablaHub instance is an IPv4 address, "
                f"not {proposal['value']!r}"
            ) from error

    @validate("advertise")
    def _check_advertise(self, proposal: Any) -> str:
        value = str(proposal["value"])
        try:
            known = IPv4Address(value) if value else None
        except AddressValueError:
            known = IPv4Address(0)
        if known is not None and (known.is_loopback or known.is_unspecified):
            raise TraitError(
                "The 'advertise' trait of a NablaHub instance is an IPv4 address of this machine "
                f"that pods reach, not {value!r}"
            )
        return value

    @validate(
        "environments_dir", "instance_types_file", "dataset_catalog_file", "database_password_file"
    )
    def _check_path(self, proposal: Any) -> str:
        if not proposal["value"]:
            return ""
        path = Path(proposal["value"]).expanduser()
        if not path.is_absolute():
            raise TraitError(
                f"The '{proposal['trait'].name}' trait of a NablaHub instance is an absolute path, "
                f"not {proposal['value']!r}"
            )
        return str(path)

    @validate("database_url")
    def _check_database_url(self, proposal: Any) -> str:
        if proposal["value"]:
            try:
                parse(str(proposal["value"]))
            except BadDatabase as error:
                raise TraitError(
                    f"The 'database_url' trait of a NablaHub instance cannot be used: {error}"
                ) from error
        return str(proposal["value"])

    @validate("kubernetes", "object_store")
    def _check_fields(self, proposal: Any) -> Any:
        name = proposal["trait"].name
        model: type[BaseModel] = MODELS[name]
        try:
            model.model_validate(dict(proposal["value"]))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise TraitError(
                f"The '{name}' trait of a NablaHub instance has something wrong"
                f"{f' at {where!r}' if where else ''}: {first['msg']}"
            ) from error
        return proposal["value"]

    @property
    def state(self) -> StateDir:
        """The state directory."""
        return StateDir(Path(self.state_dir).expanduser().absolute())

    @property
    def hub_address(self) -> str:
        """Where the hub listens."""
        return self.advertise or HOST

    @property
    def service_address(self) -> str:
        """Where the service listens: what was set for it alone comes first."""
        return self.advertise if self.service_host == HOST and self.advertise else self.service_host

    @property
    def cluster(self) -> KubernetesSettings:
        """How jobs run on a cluster; from beside it, as kubectl would find it."""
        given = dict(self.kubernetes)
        return beside(given) if self.advertise else KubernetesSettings.model_validate(given)

    def public(self, local: LocalConfig) -> str:
        """Return what people type, given the ports of this machine."""
        return self.public_url or local.proxy_url

    def for_service(self, local: LocalConfig) -> Settings:
        """Return what the service is told: the settings of the same name, and where things are."""
        same = {name: getattr(self, name) for name in Settings.model_fields if self.has_trait(name)}
        return Settings.model_validate(
            {
                **same,
                "environments_dir": self.environments_dir or None,
                "instance_types_file": self.instance_types_file or None,
                "dataset_catalog_file": self.dataset_catalog_file or None,
                "database_password_file": self.database_password_file or None,
                "proxy_token_file": self.proxy_token_file or None,
                "routes_config_map": self.routes_config_map or None,
                "state_dir": self.state.root,
                "public_url": self.public(local),
                "proxy_url": local.proxy_url if self.proxy == "traefik" else "",
                "hub_api_url": f"{local.hub_url}/hub/api",
                "service_host": local.service_host,
                "service_port": local.service_port,
                "kubernetes": self.cluster,
            }
        )


def _meant(cls: type[NablaHub], name: str) -> str:
    close = get_close_matches(name, cls.class_trait_names(config=True), n=1)
    return f"Did you mean {close[0]}?" if close else "The reference of settings lists all."


def _url_of_hub(hub: Config, own_proxy: bool) -> str:
    """Return what the hub's own options say people type; empty when they do not."""
    if given(hub, "public_url"):
        return str(hub.public_url)
    if not (own_proxy and given(hub, "bind_url")):
        return ""
    parts = urlsplit(str(hub.bind_url))
    host = parts.hostname if parts.hostname not in (None, "*", "0.0.0.0") else "127.0.0.1"
    return f"{parts.scheme or 'http'}://{host}" + (f":{parts.port}" if parts.port else "")
