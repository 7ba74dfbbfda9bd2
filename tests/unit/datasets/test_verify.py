"""Corrupt and lost objects are found, named, and restored from a copy or by putting them again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nablahub.core.s3 import S3Store
from nablahub.datasets.cli import datasets as command
from nablahub.datasets.layout import object_key
from nablahub.datasets.types import Verification
from tests.support.service import RunningService
from tests.support.stores import stored
from tests.unit.datasets.builders import read, write
from tests.unit.datasets.hub import api_of, fresh

FILES = {
    "big.bin": bytes(range(256)) * 8192,
    "another.bin": b"another" * 300_000,
    **{f"small/{i:04}": b"%d" % i * 40 for i in range(2500)},
    "small/0007": b"unlike all the others",
    "again/the same": b"unlike all the others",
}


def store_of(service: RunningService, team: str) -> Any:
    return service.service.context.services[-1].store(team)


def replace(service: RunningService, team: str, key: str, data: bytes | None) -> None:
    """Change bytes behind the hub's back, as a bad disk does, or lose them."""
    store = store_of(service, team)
    if data is None:
        store.remove(key)
    elif isinstance(store, S3Store):
        store.put(key, data)
    else:
        path: Path = store.root / key
        path.chmod(0o600)
        path.write_bytes(data)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def damage_all(service: RunningService, team: str, dataset: str) -> None:
    """Flip a byte of a large object, lose another, flip one of a small object."""
    store = store_of(service, team)
    big = object_key(hashlib.md5(FILES["big.bin"]).hexdigest())
    replace(service, team, big, flipped(store.read(big), 1000))
    replace(service, team, object_key(hashlib.md5(FILES["another.bin"]).hexdigest()), None)
    [pack] = store.keys(f"packs/{dataset}")
    whole = store.read(pack)
    replace(service, team, pack, flipped(whole, whole.rindex(FILES["small/0007"])))


DAMAGED = {"big.bin", "another.bin", "small/0007", "again/the same"}


def test_what_is_damaged_is_named_and_put_again(
    service: RunningService, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    tree = write(tmp_path / "tree", FILES)
    version = api.upload(dataset, tree)
    team = api.get(dataset).team_id
    seen: list[int] = []
    well = api.verify(dataset, progress=lambda done, _: seen.append(done))
    assert (well.done, well.files, well.bytes) == (True, len(FILES), version.bytes)
    assert well.damaged == []
    assert len(seen) >= 3
    damage_all(service, team, dataset)
    found = api.verify(dataset)
    assert {damage.path for damage in found.damaged} == DAMAGED
    assert not any(damage.restored for damage in found.damaged)
    # The same files again: only what is damaged is sent, and the old version is whole again.
    api.upload(dataset, tree)
    assert api.verify(version.id).damaged == []
    api.download(version.id, tmp_path / "back")
    assert read(tmp_path / "back") == FILES
    before = stored(service)
    api.upload(dataset, tree, again=True)
    assert {name.split("/")[-3] for name in stored(service) - before} == {"manifests"}


def test_a_copy_in_the_cache_takes_its_place(
    service: RunningService, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    version = api.upload(dataset, write(tmp_path / "tree", FILES))
    team = api.get(dataset).team_id
    cached: Path = service.service.context.services[-1].materialise(version.id)
    for name in ("big.bin", "another.bin"):  # A tree on another disk shares no blocks.
        (cached / name).parent.chmod(0o700)
        data = (cached / name).read_bytes()
        (cached / name).unlink()
        (cached / name).write_bytes(data)
    damage_all(service, team, dataset)
    found = api.verify(dataset)
    assert {damage.path for damage in found.damaged} == DAMAGED
    assert all(damage.restored for damage in found.damaged)
    assert api.verify(dataset).damaged == []
    api.download(dataset, tmp_path / "back")
    assert read(tmp_path / "back") == FILES


def test_the_command_ends_with_one_when_files_are_damaged(
    service: RunningService, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    api.upload(dataset, write(tmp_path / "tree", FILES))
    env = {"NABLAHUB_URL": service.url, "NABLAHUB_TOKEN": "token-of-alice"}
    done = CliRunner().invoke(command, ["verify", dataset], env=env)
    assert (done.exit_code, "all is well" in done.output) == (0, True), done.output
    damage_all(service, api.get(dataset).team_id, dataset)
    done = CliRunner().invoke(command, ["verify", dataset], env=env)
    assert done.exit_code == 1
    assert "damaged  big.bin" in done.output
    assert "4 damaged. Put them again" in done.output
    done = CliRunner().invoke(command, ["verify", dataset, "--json"], env=env)
    assert done.exit_code == 1
    assert len(Verification.model_validate(json.loads(done.stdout)).damaged) == 4
