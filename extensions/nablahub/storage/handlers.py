"""Operations on storage providers."""

from __future__ import annotations

import asyncio

from nablahub.core.errors import Forbidden
from nablahub.core.operations import Call, Preparation, StreamCall, operation, stream
from nablahub.core.paging import Page
from nablahub.storage.service import StorageService, as_wire
from nablahub.storage.types import (
    KeyRotation,
    StorageCheck,
    StorageProvider,
    StorageProviderCreate,
    StorageProviderPatch,
    StorageProviderQuery,
)
from nablahub.storage.usage.types import DiskUsages, UsageReport


@operation("GET", "/storage-providers", scope="storage:read", query=StorageProviderQuery)
def list_storage_providers(call: Call) -> Page[StorageProvider]:
    """List the storage providers of your teams."""
    items, following = call.get(StorageService).list(call.session, call.who, call.query)
    return Page(items=items, next=following)


def _check_new(call: Preparation, body: StorageProviderCreate) -> bool:
    return call.get(StorageService).check_new(call.who, body)


@operation("POST", "/storage-providers", scope="storage:write", status=201, prepare=_check_new)
def create_storage_provider(call: Call, body: StorageProviderCreate) -> StorageProvider:
    """Make a storage provider of a bucket, after it was tried out."""
    service = call.get(StorageService)
    return service.create(call.session, call.who, body, cors=call.prepared)


@operation("GET", "/storage-providers/{provider}", scope="storage:read")
def get_storage_provider(call: Call) -> StorageProvider:
    """Get a storage provider by its id or name."""
    service = call.get(StorageService)
    return as_wire(service.row(call.session, call.who, call.path["provider"]))


def _check_change(call: Preparation, body: StorageProviderPatch) -> bool | None:
    service, who, ref = call.get(StorageService), call.who, call.path["provider"]
    return service.check_change(call.read(lambda s: service.row(s, who, ref)), body)


@operation("PATCH", "/storage-providers/{provider}", scope="storage:write", prepare=_check_change)
def change_storage_provider(call: Call, body: StorageProviderPatch) -> StorageProvider:
    """Change a storage provider, after it was tried out."""
    service = call.get(StorageService)
    row = service.row(call.session, call.who, call.path["provider"])
    call.check_etag(row.revision)
    return service.change(call.session, row, body, cors=call.prepared)


@operation("DELETE", "/storage-providers/{provider}", scope="storage:write")
def delete_storage_provider(call: Call) -> None:
    """Delete a storage provider that holds no dataset; its bucket stays as it is."""
    service = call.get(StorageService)
    service.delete(call.session, service.row(call.session, call.who, call.path["provider"]))


@stream("POST", "/storage-providers/{provider}/check", scope="storage:write")
async def check_storage_provider(call: StreamCall) -> StorageCheck:
    """Try a storage provider out: write, read, list and delete a small object."""
    service, who, ref = call.get(StorageService), call.who, call.path["provider"]
    row = await call.db_read(lambda s: service.row(s, who, ref))
    return await asyncio.to_thread(service.check, row)


@operation("GET", "/storage-usage", scope="storage:read")
def get_storage_usage(call: Call) -> DiskUsages:
    """Tell what `/storage` of your teams and your home take of the disk, and what is large."""
    return DiskUsages(items=call.get(StorageService).usage(call.session, call.who))


@operation("PUT", "/storage-usage", scope="storage:write")
def put_storage_usage(call: Call, body: UsageReport) -> None:
    """Tell what a claim of a cluster holds: the servers that have it do; the service sees none."""
    call.get(StorageService).keep_usage(call.session, call.who, body)


@operation("POST", "/storage-providers/rotate-keys", scope="storage:write")
def rotate_encryption_keys(call: Call) -> KeyRotation:
    """Encrypt all stored secrets with a new key and forget the older ones; for administrators."""
    if not call.who.admin:
        raise Forbidden("Only an administrator of the hub changes its encryption keys.")
    return KeyRotation(secrets=call.get(StorageService).rotate_all(call.session))
