"""How an object store is reached: what an administrator sets, and what a team's provider says."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

#: Looked at in this order for what no file holds.
ACCESS_KEYS: Final = ("NABLAHUB_S3_ACCESS_KEY", "AWS_ACCESS_KEY_ID")
SECRET_KEYS: Final = ("NABLAHUB_S3_SECRET_KEY", "AWS_SECRET_ACCESS_KEY")


def _http(url: str) -> str:
    """Check an endpoint: a scheme and a host, nothing behind it."""
    if not url:
        return url
    scheme, _, rest = url.rstrip("/").partition("://")
    if scheme not in ("http", "https") or not rest or set(rest) & set("/?#@ "):
        raise ValueError("an endpoint is http:// or https:// with a host, such as https://s3.org")
    return url.rstrip("/")


Endpoint = Annotated[str, Field(max_length=500), AfterValidator(_http)]


class StorePlace(BaseModel):
    """Where a store is, without the keys to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(
        default="",
        pattern=r"^$|^s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[\w.-]+)*/?$",
        description="s3://bucket or s3://bucket/folder; empty: the state directory.",
    )
    endpoint: Endpoint = Field(
        default="", description="Where the service reaches it, http(s)://host; empty: Amazon's own."
    )
    public_endpoint: Endpoint = Field(
        default="", description="Where clients reach it; empty: the same."
    )
    region: str = Field(default="us-east-1", pattern=r"^[a-zA-Z0-9-]{1,64}$")
    path_style: bool = Field(
        default=True, description="http://host/bucket; false: http://bucket.host."
    )
    direct: bool = Field(
        default=True,
        description="Clients send and get bytes straight, by signed URLs; false where they cannot "
        "reach the store: then all bytes pass through the service.",
    )

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self.url.removeprefix("s3://").partition("/")[0]

    @property
    def prefix(self) -> str:
        """The folder in the bucket, without slashes around it."""
        return self.url.removeprefix("s3://").partition("/")[2].strip("/")


class StoreConfig(StorePlace):
    """A place and the keys to it, which are never printed."""

    access_key: SecretStr
    secret_key: SecretStr


class ObjectStoreSettings(StorePlace):
    """The hub's own store; its keys lie in files or in the service's environment.

    They are looked for in ``access_key_file`` and ``secret_key_file``, else in the variables
    ``NABLAHUB_S3_ACCESS_KEY`` and ``NABLAHUB_S3_SECRET_KEY``, else in ``AWS_ACCESS_KEY_ID`` and
    ``AWS_SECRET_ACCESS_KEY``.
    """

    access_key_file: Path | None = Field(default=None, description="File with the access key.")
    secret_key_file: Path | None = Field(default=None, description="File with the secret key.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        others = (self.endpoint, self.public_endpoint, self.access_key_file, self.secret_key_file)
        if not self.url and any(others):
            raise ValueError("object_store needs a url, such as s3://bucket")
        return self

    def config(self) -> StoreConfig:
        """Return the place with its keys.

        Raises
        ------
        ValueError
            Naming the key that is nowhere.
        """
        return StoreConfig(
            **{name: getattr(self, name) for name in StorePlace.model_fields},
            access_key=_secret(self.access_key_file, ACCESS_KEYS, "access key"),
            secret_key=_secret(self.secret_key_file, SECRET_KEYS, "secret key"),
        )


def _secret(file: Path | None, variables: tuple[str, ...], what: str) -> SecretStr:
    if file is not None:
        try:
            return SecretStr(file.read_text().strip())
        except OSError as error:
            raise ValueError(
                f"The file of the object store's {what} cannot be read: {error}."
            ) from error
    for name in variables:
        if value := os.environ.get(name):
            return SecretStr(value)
    raise ValueError(
        f"The object store's {what} is missing: name a file, or set {variables[0]} for the service."
    )
