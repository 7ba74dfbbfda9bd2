"""Storage providers over the REST API."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import quote

from nablahub.core.transport import Transport
from nablahub.storage.types import KeyRotation, StorageCheck, StorageProvider
from nablahub.storage.usage.types import DiskUsage, DiskUsages, UsageReport


class StorageAPI:
    """Storage providers, as a client sees them; a reference is an id or a name."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def list(self) -> Iterator[StorageProvider]:
        """Yield your teams' storage providers, newest first."""
        return map(StorageProvider.model_validate, self._hub.pages("/storage-providers"))

    def get(self, ref: str) -> StorageProvider:
        """Return a storage provider; NoSuchProvider when you have none such."""
        return StorageProvider.model_validate(self._hub.get(_path(ref)))

    def create(
        self, name: str, bucket: str, access_key: str, secret_key: str, **fields: Any
    ) -> StorageProvider:
        """Make a storage provider of a bucket; the hub tries it out first.

        Parameters
        ----------
        name : str
            Unique in its team.
        bucket, access_key, secret_key : str
            Where, and the keys to it; the secret key is never shown again.
        **fields
            ``prefix``, ``endpoint``, ``public_endpoint``, ``region``, ``path_style``, ``direct``,
            ``team``.

        Raises
        ------
        ProviderFails
            In a sentence that says why.
        """
        body = {
            "name": name, "bucket": bucket, "access_key": access_key, "secret_key": secret_key,
            **fields,
        }  # fmt: skip
        return StorageProvider.model_validate(self._hub.post("/storage-providers", body))

    def change(self, provider: StorageProvider, **fields: Any) -> StorageProvider:
        """Change fields of the revision that was read; the hub tries it out first."""
        made = self._hub.patch(_path(provider.id), fields, revision=provider.revision)
        return StorageProvider.model_validate(made)

    def check(self, ref: str) -> StorageCheck:
        """Try a storage provider out."""
        return StorageCheck.model_validate(self._hub.post(f"{_path(ref)}/check"))

    def delete(self, ref: str) -> None:
        """Delete a storage provider that holds no dataset; its bucket stays as it is."""
        self._hub.delete(_path(ref))

    def usage(self) -> Sequence[DiskUsage]:
        """Return what `/storage` of your teams and your home take of the disk."""
        return DiskUsages.model_validate(self._hub.get("/storage-usage")).items

    def tell_usage(self, report: UsageReport) -> None:
        """Tell what a claim of a cluster holds, which only those see who have it."""
        self._hub.request("PUT", "/storage-usage", body=report.model_dump())

    def rotate_keys(self) -> KeyRotation:
        """Encrypt the hub's stored secrets with a new key; for administrators."""
        return KeyRotation.model_validate(self._hub.post("/storage-providers/rotate-keys"))


def _path(ref: str) -> str:
    return f"/storage-providers/{quote(ref, safe='')}"
