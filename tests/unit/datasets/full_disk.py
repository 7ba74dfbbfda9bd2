"""Runs inside a sandbox whose only writable disk is a small tmpfs; prints what happened as JSON.

``python -m tests.unit.datasets.full_disk DISK SOURCES``
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

from nablahub.core.errors import NablaError
from nablahub.core.extension import load
from nablahub.datasets.api import DatasetsAPI
from tests.support.service import running

EXTENSIONS = [
    load(f"nablahub.{name}.extension:extension")
    for name in ("teams", "projects", "storage", "datasets")
]


def attempt(work: Callable[[], Any]) -> dict[str, str]:
    """Do something and tell how it ended."""
    try:
        work()
    except NablaError as error:
        return {"code": error.code, "words": str(error)}
    return {"code": "done"}


def fill(disk: Path, leave: int) -> Path:
    """Fill the disk up but for some bytes."""
    filler = disk / "filler"
    with filler.open("wb", 0) as file:
        try:
            while file.write(b"x" * 4096) == 4096:
                pass
        except OSError:
            pass
    with filler.open("r+b") as file:
        file.truncate(max(filler.stat().st_size - leave, 0))
    return filler


def main(disk: Path, sources: Path) -> None:
    """Upload, fill the disk, try everything, make room, try again."""
    said: dict[str, Any] = {}
    with running(disk / "state", EXTENSIONS, min_free_bytes=0) as service:
        api = DatasetsAPI(service.transport())
        dataset = api.create("data").id
        first = api.upload(dataset, sources / "old")
        objects = service.state.objects

        def stored() -> list[str]:
            return sorted(str(p.relative_to(objects)) for p in objects.rglob("*") if p.is_file())

        before = stored()
        filler = fill(disk, 0)
        said["create"] = attempt(lambda: api.create("more"))
        said["small"] = attempt(lambda: api.upload(dataset, sources / "small"))
        said["large"] = attempt(lambda: api.upload(dataset, sources / "large"))
        said["read"] = api.read(first.id, "a").decode()
        filler.unlink()
        # A body of which nobody says how long it is.
        filler = fill(disk, 6_000_000)
        datasets = service.service.context.services[-1]
        usual = datasets.settings
        datasets.settings = usual.model_copy(update={"min_free_bytes": 3_000_000})
        free = [shutil.disk_usage(disk).free]

        def endless() -> Iterator[bytes]:
            for _ in range(16):
                yield b"z" * 1024 * 1024
                free.append(shutil.disk_usage(disk).free)

        answer = httpx.put(
            f"{service.url}/api/v1/datasets/{dataset}/files/endless", content=endless(),
            headers={"Authorization": "Bearer token-of-alice"}, trust_env=False,
        )  # fmt: skip
        told = answer.json()
        said["unannounced"] = {"code": told["code"], "words": f"{told['detail']} {told['hint']}"}
        said["kept_free"] = min(free)
        filler.unlink()
        # Enough for rows and a first piece, not for all of it: the disk fills up on the way.
        filler = fill(disk, 3_000_000)
        datasets.settings = usual.model_copy(update={"min_free_bytes": -(10**9)})
        said["midway"] = attempt(lambda: api.upload(dataset, sources / "large"))
        said["midway_small"] = attempt(lambda: api.upload(dataset, sources / "many"))
        filler.unlink()
        datasets.building.sweeping.at_start()
        datasets.building.collect_now(api.get(dataset).team_id)
        said["left"] = sorted(set(stored()) - set(before))
        said["versions"] = len(list(api.versions(dataset)))
        said["afterwards"] = attempt(lambda: api.upload(dataset, sources / "small"))
        said["again"] = attempt(lambda: api.create("more"))
    print(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
