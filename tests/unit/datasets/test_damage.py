"""What a store has lost or changed is refused when it is read first, and named, and restored."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

import httpx
import pytest

from nablahub.core.errors import NablaError
from nablahub.datasets import proofs
from nablahub.datasets.errors import BadObject
from nablahub.datasets.layout import manifest_key, object_key
from tests.support.service import RunningService
from tests.unit.datasets.builders import read, write
from tests.unit.datasets.hub import api_of, fresh
from tests.unit.datasets.test_verify import flipped, replace, store_of

SMALL_FILES = {f"small/{i:04}": b"%d" % i * 40 for i in range(1500)}


@pytest.fixture
def files(request: pytest.FixtureRequest) -> dict[str, bytes]:
    """What is put: a team has each large object once, so none here is another test's."""
    return {"big.bin": Random(request.node.name).randbytes(2_000_000), **SMALL_FILES}


def put(
    service: RunningService,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    files: dict[str, bytes],
) -> tuple[str, str, str]:
    """Put the files; return team, dataset and the version's id."""
    api, dataset = api_of(service), fresh(service, request)
    version = api.upload(dataset, write(tmp_path / "tree", files))
    return api.get(dataset).team_id, dataset, version.id


def get(
    service: RunningService, version: str, path: str, headers: Mapping[str, str] | None = None
) -> httpx.Response:
    """Get a file as any client of the API does, that compares nothing."""
    dataset, _, name = version.partition(":")
    where = f"{service.url}/api/v1/datasets/{dataset}/versions/{name}/files/{path}"
    return httpx.get(where, headers={"Authorization": "Bearer token-of-alice", **(headers or {})})


def test_a_changed_object_is_never_handed_out_whole(
    service: RunningService,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    files: dict[str, bytes],
) -> None:
    team, dataset, version = put(service, tmp_path, request, files)
    store = store_of(service, team)
    assert get(service, version, "big.bin").content == files["big.bin"]
    key = object_key(hashlib.md5(files["big.bin"]).hexdigest())
    replace(service, team, key, flipped(store.read(key), 1000))
    [pack] = store.keys(f"packs/{dataset}")
    whole = store.read(pack)
    replace(service, team, pack, flipped(whole, whole.rindex(files["small/0777"])))
    answer = get(service, version, "small/0777")
    assert answer.status_code == 422
    assert "'small/0777' are damaged or gone" in answer.json()["detail"]
    assert "datasets verify" in answer.json()["hint"]
    assert get(service, version, "small/0778").content == files["small/0778"]
    with pytest.raises(httpx.RemoteProtocolError):  # Cut before its last piece.
        get(service, version, "big.bin")
    with pytest.raises(NablaError, match="damaged"):
        service.service.context.services[-1].materialise(version)
    with pytest.raises(BadObject, match=r"wrong bytes.*datasets verify"):
        api_of(service).download(version, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    "how", ["cut", pytest.param("cut in its table", marks=pytest.mark.slow), "lost"]
)
def test_a_pack_that_is_cut_or_lost(
    service: RunningService,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    files: dict[str, bytes],
    how: str,
) -> None:
    team, dataset, version = put(service, tmp_path, request, files)
    api, store = api_of(service), store_of(service, team)
    datasets = service.service.context.services[-1]
    [pack] = store.keys(f"packs/{dataset}")
    whole = store.read(pack)
    left = {"cut": whole[:-20_000], "cut in its table": whole[:5000], "lost": None}[how]
    replace(service, team, pack, left)
    datasets.tables.forget(pack.rpartition("/")[2])  # As after a restart.
    with pytest.raises(NablaError, match=r"datasets verify|damaged"):
        api.download(version, tmp_path / "back")
    assert get(service, version, "small/1499").status_code == 422
    found = api.verify(version)
    lost = {damage.path for damage in found.damaged}
    assert "small/1499" in lost
    assert ("small/0000" in lost) == (how != "cut")
    assert "big.bin" not in lost
    api.upload(dataset, tmp_path / "tree")  # The remedy that the words name.
    assert api.verify(version).damaged == []
    api.download(version, tmp_path / "back")
    assert read(tmp_path / "back") == files


def test_a_wrong_page_of_the_list_of_files(
    service: RunningService,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    files: dict[str, bytes],
) -> None:
    team, dataset, version = put(service, tmp_path, request, files)
    api, store = api_of(service), store_of(service, team)
    key = manifest_key(dataset, version.partition(":")[2])
    good = store.read(key)
    replace(service, team, key, flipped(good, good.index(b" small/0000\n") - 60))
    with pytest.raises(NablaError, match=rf"files of {version} from .* is damaged or gone"):
        list(api.files(version))
    with pytest.raises(NablaError, match="is damaged or gone"):
        api.download(version, tmp_path / "back")
    found = api.verify(version)
    assert [damage.restored for damage in found.damaged] == [False]
    assert "list of the files" in found.damaged[0].problem
    # Put again, the list is stored again, and the old version's is restored from it.
    api.upload(dataset, tmp_path / "tree")
    assert [damage.restored for damage in api.verify(version).damaged] == [True]
    assert api.verify(version).damaged == []
    assert store.read(key) == good
    api.download(version, tmp_path / "back")
    assert read(tmp_path / "back") == files
    # A tree that was materialised knows it, too.
    other = fresh(service, request, "of a tree")
    version = api.upload(other, tmp_path / "tree").id
    service.service.context.services[-1].materialise(version)
    key = manifest_key(other, version.partition(":")[2])
    good = store.read(key)
    replace(service, team, key, flipped(good, good.index(b" small/0000\n") - 60))
    assert [damage.restored for damage in api.verify(version).damaged] == [True]
    assert store.read(key) == good


@pytest.mark.parametrize("how", ["cut", "lost"])
def test_a_list_of_files_that_is_gone(
    service: RunningService,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    files: dict[str, bytes],
    how: str,
) -> None:
    team, dataset, version = put(service, tmp_path, request, files)
    api, store = api_of(service), store_of(service, team)
    key = manifest_key(dataset, version.partition(":")[2])
    replace(service, team, key, store.read(key)[:-30] if how == "cut" else None)
    with pytest.raises(NablaError, match=f"files of {version} is damaged or gone"):
        list(api.files(version))
    [damage] = api.verify(version).damaged
    assert not damage.restored
    assert version in damage.problem
    again = api.upload(dataset, tmp_path / "tree")
    assert again.id != version
    assert api.verify(again.id).damaged == []
    api.download(again.id, tmp_path / "back")
    assert read(tmp_path / "back") == files


def test_a_range_of_a_changed_object_is_not_handed_out(
    service: RunningService,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    files: dict[str, bytes],
) -> None:
    big = files["big.bin"]
    team, _, version = put(service, tmp_path, request, {"big.bin": big})
    store, part = store_of(service, team), {"Range": "bytes=100-199"}
    key = object_key(hashlib.md5(big).hexdigest())
    read_bytes: list[int] = []
    chunks = store.chunks

    def counted(key: str, start: int, length: int) -> Iterator[bytes]:
        for data in chunks(key, start, length):
            read_bytes.append(len(data))
            yield data

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store), "chunks", lambda _, *args: counted(*args))
        for _ in range(3):  # It is read whole for the first.
            answer = get(service, version, "big.bin", part)
            assert (answer.status_code, answer.content) == (206, big[100:200])
    assert sum(read_bytes) == len(big) + 300
    # Far from the range, and its size is the same.
    replace(service, team, key, flipped(big, 1_900_000))
    answer = get(service, version, "big.bin", part)
    assert answer.status_code == 422
    assert "'big.bin' are damaged or gone" in answer.json()["detail"]
    replace(service, team, key, big)
    assert get(service, version, "big.bin", part).content == big[100:200]


def test_a_range_of_what_is_too_large_to_read_for_it(
    service: RunningService,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    files: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(proofs, "READ_WHOLE", 1_500_000)
    big = files["big.bin"]
    team, _, version = put(service, tmp_path, request, {"big.bin": big})
    bad = flipped(big, 1_900_000)
    replace(service, team, object_key(hashlib.md5(big).hexdigest()), bad)
    for first in (100, 1_899_950):
        part = {"Range": f"bytes={first}-{first + 99}"}
        assert get(service, version, "big.bin", part).content == bad[first : first + 100]
    with pytest.raises(httpx.RemoteProtocolError):  # All of it is proved as ever.
        get(service, version, "big.bin")


def test_what_was_found_damaged_is_not_taken_for_proved_any_more(
    service: RunningService,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    files: dict[str, bytes],
) -> None:
    big = files["big.bin"]
    team, _, version = put(service, tmp_path, request, {"big.bin": big})
    key, store = object_key(hashlib.md5(big).hexdigest()), store_of(service, team)
    assert api_of(service).verify(version).damaged == []
    part = {"Range": "bytes=100-199"}
    with pytest.MonkeyPatch.context() as patch:
        # A disk that rots changes no time.
        stamp = store.stamp(key)
        patch.setattr(type(store), "stamp", lambda *_: stamp)
        replace(service, team, key, flipped(big, 1_900_000))
        assert get(service, version, "big.bin", part).content == big[100:200]
        assert [damage.path for damage in api_of(service).verify(version).damaged] == ["big.bin"]
        assert get(service, version, "big.bin", part).status_code == 422
