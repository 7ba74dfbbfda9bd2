"""Both kinds of object stores under one service, for the suites that hold for either."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from nablahub.core.s3 import S3Store
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS
from tests.support.service import RunningService

KINDS = ("directory", "s3", "s3 through the hub")


def settings_of(kind: str, request: pytest.FixtureRequest, folder: Path) -> dict[str, Any]:
    """Return the settings of a hub whose own store is of a kind; an S3 gets a new bucket."""
    if kind == "directory":
        return {}
    s3: SeaweedFS = request.getfixturevalue("s3")
    return {"object_store": own_store(s3, folder, direct=kind == "s3")}


def own_store(s3: SeaweedFS, folder: Path, **fields: Any) -> dict[str, Any]:
    """Return the setting that names a new bucket, with its keys in files."""
    folder.mkdir(parents=True, exist_ok=True)
    access, secret = folder / "access-key", folder / "secret-key"
    access.write_text(KEY)
    secret.write_text(SECRET + "\n")
    return {
        "url": f"s3://{s3.bucket()}/data", "endpoint": s3.endpoint, "region": REGION,
        "access_key_file": access, "secret_key_file": secret, **fields,
    }  # fmt: skip


def stored(service: RunningService) -> set[str]:
    """Everything that the hub's store holds: temporary files and begun uploads included."""
    found = {str(p) for p in service.state.objects.rglob("*") if p.is_file()}
    own = service.settings.object_store
    if own.url:
        store = S3Store(own.config())
        # What a hub tries its store out with at its start comes and goes by itself.
        kept = [key for key in store.keys("") if "/.nablahub-check-" not in f"/{key}"]
        found |= {f"{own.url}/{key}" for key in kept}
        found |= {f"begun {begun.key}" for begun in store.transfers.begun()}
    return found


def collect(service: RunningService, space: str) -> None:
    """Delete left-over bytes now."""
    service.service.context.services[-1].building.collect_now(space)
