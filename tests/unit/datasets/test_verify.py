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


def test_all_versions_that_share_the_damage_are_named(
    service: RunningService, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    large, small = b"in many versions" * 100_000, b"small and in many versions"
    files = {"a.bin": large, "b": small, "c": b"whole"}
    first = api.upload(dataset, write(tmp_path / "tree", files))
    second = api.write(dataset, "a.bin", b"another one" * 100_000)
    with api.draft(dataset) as draft:
        draft.put("b", b"another small one")
        draft.commit()
    # The large object is the team's: another dataset shares it; small ones each has for itself.
    other = fresh(service, request, "other")
    third = api.write(other, "copy.bin", large)
    fourth = api.write(other, "b", small)
    team, store = api.get(dataset).team_id, store_of(service, api.get(dataset).team_id)
    replace(service, team, object_key(hashlib.md5(large).hexdigest()), None)
    pack = next(key for key in store.keys(f"packs/{dataset}") if small in store.read(key))
    whole = store.read(pack)
    replace(service, team, pack, flipped(whole, whole.rindex(small)))
    found = {sharer.version: sharer for sharer in api.verify(first.id).sharing}
    assert found.keys() == {second.id, third.id, fourth.id}
    assert (found[second.id].files, found[second.id].paths) == (1, ["b"])
    assert (found[fourth.id].files, found[fourth.id].paths) == (1, ["copy.bin"])
    assert found[fourth.id].dataset_name == api.get(other).name
    env = {"NABLAHUB_URL": service.url, "NABLAHUB_TOKEN": "token-of-alice"}
    done = CliRunner().invoke(command, ["verify", first.id], env=env)
    assert f"{third.id.partition(':')[2]}  1 file: copy.bin" in done.output
    assert "Other versions that share them: 3." in done.output
    # The newest version needs none of it; put again, all are whole.
    assert api.verify(dataset).damaged == []
    api.upload(dataset, tmp_path / "tree", again=True)
    assert api.verify(first.id).sharing == []


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
    assert "4 damaged. " in done.output
    assert "Put them again" in done.output
    done = CliRunner().invoke(command, ["verify", dataset, "--json"], env=env)
    assert done.exit_code == 1
    assert len(Verification.model_validate(json.loads(done.stdout)).damaged) == 4
