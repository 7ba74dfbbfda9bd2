"""The form of a catalog file: its keys, and what each may say."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from nablahub.core.paths import problem
from nablahub.core.specmodel import Text

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_BUNDLED = re.compile(r"[a-z0-9-]+\.csv")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
LONGEST: Final = 2000


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(
            "A name has up to 63 small letters, digits and the signs . _ -, the first a letter or "
            "digit"
        )
    return text


def _sha256(text: str) -> str:
    if not _SHA256.fullmatch(text):
        raise ValueError("A sha256 has 64 characters of 0-9 and a-f. `sha256sum FILE` tells it")
    return text


def _path(text: str) -> str:
    if wrong := problem(text):
        raise ValueError(f"That is no path in a dataset: {wrong}")
    return text


def _address(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme == "s3" and _BUCKET.fullmatch(parts.netloc) and parts.path.strip("/"):
        return text
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError("Write it as https://host/path, or s3://bucket/key of a public bucket")
    return text


def _bundled(text: str) -> str:
    if not _BUNDLED.fullmatch(text):
        raise ValueError("Only files that ship with NablaHub are bundled. Write `url:` instead")
    return text


def _page(text: str) -> str:
    if urlsplit(text).scheme not in ("http", "https"):
        raise ValueError("Write the address of the page that tells of it, as https://…")
    return text


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileEntry(_Form):
    """A file and where it comes from."""

    url: Annotated[Text, AfterValidator(_address)] | None = Field(
        default=None, description="Where it is: `https://…`, or `s3://bucket/key`, read unsigned"
    )
    bundled: Annotated[Text, AfterValidator(_bundled)] | None = Field(
        default=None, description="Or a file that ships with NablaHub"
    )
    sha256: Annotated[Text, AfterValidator(_sha256)] = Field(
        description="Of its bytes, as they are at the source"
    )
    path: Annotated[Text, AfterValidator(_path)] | None = Field(
        default=None, description="Its path in the dataset; the last name of its source without it"
    )
    unpack: bool = Field(
        default=False, strict=True, description="Whether what is in it comes into the dataset"
    )

    @model_validator(mode="after")
    def _check(self) -> FileEntry:
        if (self.url is None) == (self.bundled is None):
            raise ValueError("A file has one source. Write `url:`")
        _path(self.target)
        return self

    @property
    def target(self) -> str:
        """Its path in the dataset."""
        return self.path or self.bundled or urlsplit(self.url or "").path.rpartition("/")[2]

    @property
    def address(self) -> str | None:
        """Where it is fetched from by HTTP; None for a bundled one."""
        if self.url is None or not self.url.startswith("s3:"):
            return self.url
        parts = urlsplit(self.url)
        # https://docs.aws.amazon.com/AmazonS3/latest/userguide/VirtualHosting.html
        return f"https://s3.amazonaws.com/{parts.netloc}{parts.path}"


class Entry(_Form):
    """A public dataset."""

    title: Text = Field(min_length=1, max_length=200, description="What it is, in a few words")
    description: Text = Field(default="", max_length=LONGEST, description="More of it (Markdown)")
    licence: Text = Field(
        min_length=1, max_length=200,
        description="On what terms it may be used, an SPDX name where there is one",
    )  # fmt: skip
    source: Annotated[Text, AfterValidator(_page)] = Field(
        max_length=LONGEST, description="The page that tells of it"
    )
    checked_by: Text = Field(default="", max_length=200, description="Who states the checksums")
    files: list[FileEntry] = Field(min_length=1, max_length=1000, description="What it has")

    @property
    def digest(self) -> str:
        """What names its content: the same files make the same version."""
        lines = [f"{file.sha256} {file.unpack} {file.target}" for file in self.files]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    @property
    def offline(self) -> bool:
        """Whether no network is needed."""
        return all(file.bundled is not None for file in self.files)

    @property
    def story(self) -> str:
        """What a dataset made of it tells (Markdown)."""
        parts = [
            f"{self.title}. {self.description}".strip(),
            f"Licence: {self.licence}  \nSource: <{self.source}>",
        ]
        return "\n\n".join(parts)


class CatalogFile(_Form):
    """The whole file."""

    datasets: dict[Annotated[Text, AfterValidator(_name)], Entry | None] = Field(
        default={}, description="Datasets by name; `null` takes a shipped one away"
    )
