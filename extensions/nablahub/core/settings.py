"""What the hub service is told at its start; nothing else configures it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from nablahub.core.state import StateDir

GIB = 1024**3


class Settings(BaseModel):
    """Settings of the service, read once from ``service/settings.json``.

    Sizes are in bytes and times in seconds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    state_dir: Path
    public_url: str = Field(description="What people type, such as http://127.0.0.1:8000")
    hub_api_url: str = Field(description="The hub's API, such as http://127.0.0.1:8081/hub/api")
    service_host: str = "127.0.0.1"
    service_port: int = 0
    service_prefix: str = "/services/nablahub/"
    environments_dir: Path | None = Field(default=None, description="Default: in the state folder")
    unsandboxed: bool = Field(default=False, description="Run jobs without bubblewrap, knowingly")
    introspection_seconds: float = Field(default=10.0, ge=0, le=10)
    max_body_bytes: int = Field(default=8 * 1024**2, description="Of a JSON request")
    max_upload_bytes: int = Field(default=64 * 1024**3, description="Of one uploaded object")
    dataset_quota_bytes: int = Field(default=100 * GIB, description="Stored by one team")
    min_free_bytes: int = Field(default=16 * 1024**2, description="Left free on the disk")
    event_retention: int = Field(default=100_000, description="Events kept for resuming streams")

    @property
    def state(self) -> StateDir:
        """The state directory."""
        return StateDir(self.state_dir)

    @property
    def environments(self) -> Path:
        """Where the environments of jobs are built."""
        return self.environments_dir or self.state.environments

    @property
    def api_url(self) -> str:
        """The service's public root, such as http://127.0.0.1:8000/services/nablahub."""
        return self.public_url.rstrip("/") + self.service_prefix.rstrip("/")

    @classmethod
    def load(cls, path: Path) -> Settings:
        """Read settings from a JSON file; pydantic.ValidationError names a wrong field."""
        return cls.model_validate_json(path.read_text())
