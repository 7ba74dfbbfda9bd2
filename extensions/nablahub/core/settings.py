"""What the hub service is told at its start; nothing else configures it.

People set these as traitlets: ``nablahub_hub.settings.NablaHub`` takes name, type, default, bounds,
unit and words of each from here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.core.quantities import quantity
from nablahub.core.state import StateDir
from nablahub.core.storesettings import ObjectStoreSettings

GIB = 1024**3
MIB = 1024**2


def _in(unit: str) -> dict[str, Any]:
    """Return what names the unit of a field."""
    return {"unit": unit}


class Settings(BaseModel):
    """Settings of the service, read once from ``service/settings.json``.

    Sizes are in bytes and times in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state_dir: Path
    public_url: str = Field(description="What people type, such as http://127.0.0.1:8000.")
    hub_api_url: str = Field(description="The hub's API, such as http://127.0.0.1:8081/hub/api.")
    proxy_url: str = Field(
        default="",
        description="Where the proxy listens on this machine; empty: at the public URL.",
    )
    service_host: str = Field(
        default="127.0.0.1",
        description=(
            "IPv4 address that the service listens on. Any other than a loopback address sends "
            "tokens over the network in the clear."
        ),
    )
    service_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description=(
            "Port that the service listens on; 0 takes a free one, which stays the same from then "
            "on."
        ),
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description=(
            "Port on the service's address that shows its numbers to Prometheus at `/metrics`, "
            "to anybody who reaches it; 0: none."
        ),
    )
    service_url: str = Field(
        default="",
        description=(
            "Where other machines reach the service, such as http://nablahub-service:8000; empty: "
            "it runs on the hub's own. With it the hub keeps no state directory of ours: where it "
            "listens, its database, proxy, sign-in and spawner stay as its configuration has them."
        ),
    )
    service_prefix: str = "/services/nablahub/"
    environments_dir: Path | None = Field(
        default=None,
        description=(
            "Folder in which the environments of jobs and notebooks are built (an absolute path, "
            "or one that begins with `~`); several hubs of one user may share it. "
            "Empty: `$NABLAHUB_ENVIRONMENTS_DIR`, else `environments` in the state directory."
        ),
    )
    instance_types_file: Path | None = Field(
        default=None,
        description=(
            "YAML file of instance types, laid over those that ship (an absolute path, or one that "
            "begins with `~`). It is read again when it changes. "
            "Empty: `instance-types.yaml` in the state directory."
        ),
    )
    dataset_catalog_file: Path | None = Field(
        default=None,
        description=(
            "YAML file of public datasets, laid over those that ship (an absolute path, or one "
            "that begins with `~`). It is read again when it changes. "
            "Empty: `dataset-catalog.yaml` in the state directory."
        ),
    )
    database_url: str = Field(
        default="",
        description=(
            "PostgreSQL that several processes of the service may share, such as "
            "`postgresql://nablahub@db.example.org:5432/nablahub`, without a password. Empty: "
            "SQLite in the state directory."
        ),
    )
    database_password_file: Path | None = Field(
        default=None,
        description=(
            "File that holds the database's password (an absolute path); it is read for each "
            "connection. Empty: `$PGPASSWORD` or `$PGPASSFILE` of the service."
        ),
    )
    migrate_at_start: bool = Field(
        default=True,
        description=(
            "Bring the database to the release's schema when the service starts. Otherwise it "
            "refuses to start until `python -m nablahub.service --migrate` has done it."
        ),
    )
    proxy_token_file: Path | None = Field(
        default=None,
        description=(
            "File with the token by which a Traefik on another machine fetches the routes of "
            "deployments. Empty: Traefik reads `traefik/dynamic` in the state directory."
        ),
    )
    routes_config_map: str | None = Field(
        default=None,
        pattern=r"^[a-z0-9-]+/[a-z0-9.-]+$",
        description=(
            "ConfigMap, as `namespace/name`, in which the routes of deployments are kept for a "
            "Traefik that starts while the service cannot be asked. Empty: nowhere."
        ),
    )
    unsandboxed: bool = Field(
        default=False,
        description=(
            "Accept, knowingly, that servers and jobs run without a sandbox where bubblewrap "
            "cannot run: they then see the files of the hub and of all other users. "
            "`nablahub up --unsandboxed` says the same."
        ),
    )
    runner: Literal["process", "kubernetes"] = Field(
        default="process",
        description="What starts jobs: processes of this machine, or the pods of a cluster.",
    )
    kubernetes: KubernetesSettings = Field(
        default=KubernetesSettings(), description="How jobs run on a cluster, if they do."
    )
    object_store: ObjectStoreSettings = Field(
        default=ObjectStoreSettings(),
        description="Where the data of datasets lies, if not in the state directory: an S3. "
        "Its keys are never written here.",
    )
    allow_private_addresses: bool = Field(
        default=False,
        description=(
            "Let teams' storage providers be at private, loopback and link-local addresses. "
            "Whoever may make one can then let the service connect to its own network."
        ),
    )
    bucket_mounts: Literal["auto", "fuse", "copy"] = Field(
        default="auto",
        description=(
            "How folders of teams' buckets are shown to jobs and notebook servers on this machine: "
            "by FUSE, by a copy, or by FUSE where it works."
        ),
    )
    introspection_seconds: float = Field(
        default=10.0,
        ge=0,
        le=10,
        description=(
            "How long the hub's answer about a token is believed: a revoked token works that "
            "much longer."
        ),
        json_schema_extra=_in("seconds"),
    )
    max_body_bytes: int = Field(
        default=8 * MIB,
        ge=1024,
        description="Largest JSON body of a request to the service.",
        json_schema_extra=_in("bytes"),
    )
    max_upload_bytes: int = Field(
        default=64 * GIB,
        ge=1,
        description="Largest file that is uploaded in one request.",
        json_schema_extra=_in("bytes"),
    )
    dataset_quota_bytes: int = Field(
        default=100 * GIB,
        ge=0,
        description="What one team may store in datasets, all versions together.",
        json_schema_extra=_in("bytes"),
    )
    dataset_cache_size: str = Field(
        default="100Gi",
        description=(
            "What the trees that jobs and notebooks read may take on the disk together, as a "
            "quantity such as `500Gi`; what was not used for the longest time goes first, and "
            "nothing that is read. Files that a tree shares with the store are not counted. "
            "Empty: any size."
        ),
    )
    storage_quota_bytes: int = Field(
        default=100 * GIB,
        ge=0,
        description="What one team may keep in `/storage` on this machine; over it, jobs see it "
        "read-only and servers begin with a notice; 0: no limit.",
        json_schema_extra=_in("bytes"),
    )
    home_quota_bytes: int = Field(
        default=0,
        ge=0,
        description="What one user may keep in their home on this machine; over it, their servers "
        "begin with a notice; 0: no limit.",
        json_schema_extra=_in("bytes"),
    )
    usage_scan_seconds: float = Field(
        default=300.0,
        ge=1,
        description="Pause after `/storage` and homes have been measured, which takes at most a "
        "twentieth of one CPU.",
        json_schema_extra=_in("seconds"),
    )
    min_free_bytes: int = Field(
        default=16 * MIB,
        ge=0,
        description="Space left free on the disk of the state directory; data that would take it "
        "is refused.",
        json_schema_extra=_in("bytes"),
    )
    event_retention: int = Field(
        default=100_000,
        ge=1,
        description="Number of newest events kept, so that live streams can be resumed.",
        json_schema_extra=_in("events"),
    )

    @field_validator("dataset_cache_size")
    @classmethod
    def _is_quantity(cls, size: str) -> str:
        if size and quantity(size) < 0:
            raise ValueError("It is negative.")
        return size

    @property
    def dataset_cache_bytes(self) -> int | None:
        """Largest size of the cache in bytes; None: any."""
        return int(quantity(self.dataset_cache_size)) if self.dataset_cache_size else None

    @property
    def state(self) -> StateDir:
        """The state directory."""
        return StateDir(self.state_dir)

    @property
    def environments(self) -> Path:
        """Where the environments of jobs are built."""
        return self.environments_dir or self.state.environments

    @property
    def instance_types(self) -> Path:
        """The file of instance types."""
        return self.instance_types_file or self.state.instance_types

    @property
    def dataset_catalog(self) -> Path:
        """The file of public datasets."""
        return self.dataset_catalog_file or self.state.dataset_catalog

    @property
    def jobs_url(self) -> str:
        """The service's root as jobs reach it: straight, not through the hub's proxy."""
        if self.runner == "kubernetes" and self.kubernetes.service_url is not None:
            return self.kubernetes.service_url.rstrip("/")
        own = f"http://{self.service_host}:{self.service_port}"
        return own + self.service_prefix.rstrip("/")

    @property
    def api_url(self) -> str:
        """The service's public root, such as http://127.0.0.1:8000/services/nablahub."""
        return self.public_url.rstrip("/") + self.service_prefix.rstrip("/")

    @property
    def own_url(self) -> str:
        """Where a proxy reaches the service, without its prefix."""
        return self.service_url or f"http://{self.service_host}:{self.service_port}"

    @property
    def local_url(self) -> str:
        """Where this machine reaches the proxy, with no web server before it in between."""
        return self.proxy_url or self.public_url

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read settings from a JSON file; pydantic.ValidationError names a wrong field."""
        return cls.model_validate_json(path.read_text())
