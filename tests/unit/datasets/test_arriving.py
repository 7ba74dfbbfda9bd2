"""What arrives counts against the quota while it comes, and while it waits for its pack."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from nablahub.core.errors import NotFound, QuotaExceeded
from nablahub.datasets.store import UploadRow
from tests.support.service import RunningService, running
from tests.support.stores import collect, stored
from tests.support.waiting import until
from tests.unit.datasets.hub import EXTENSIONS, api_of, fresh

MIB = 1024 * 1024
QUOTA = 3 * MIB


@pytest.fixture
def tight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    state = tmp_path_factory.mktemp("tight")
    with running(state, EXTENSIONS, dataset_quota_bytes=QUOTA) as found:
        yield found


@pytest.fixture
def dataset(tight: RunningService, request: pytest.FixtureRequest) -> str:
    return fresh(tight, request)


def on_disk(service: RunningService) -> int:
    size = 0
    for path in service.state.objects.rglob("*"):
        with suppress(FileNotFoundError):  # It goes just now.
            size += path.stat().st_size if path.is_file() else 0
    return size


def put(service: RunningService, path: str, pieces: Iterator[bytes]) -> httpx.Response:
    """Send a body of which nobody says how long it is."""
    headers = {"Authorization": "Bearer token-of-alice"}
    with httpx.Client(trust_env=False, timeout=120) as client:
        return client.put(f"{service.url}{path}", content=pieces, headers=headers)


@pytest.mark.parametrize("way", ["write", "draft", "pack", "push"])
def test_a_body_of_unknown_length_stops_at_the_quota(
    tight: RunningService, dataset: str, way: str
) -> None:
    before, most = stored(tight), [0]

    def pieces() -> Iterator[bytes]:
        for _ in range(40):
            yield b"u" * MIB
            most[0] = max(most[0], on_disk(tight))

    if way == "push":
        path = f"/dvc/{dataset}/files/md5/ab/{'c' * 30}"
    else:
        upload = f"uploads/{api_of(tight).draft(dataset).id.split(':')[1]}"
        places = {"draft": f"{upload}/files/u", "pack": f"{upload}/packs/{'a' * 64}"}
        path = f"/api/v1/datasets/{dataset}/{places.get(way, 'files/u')}"
    answer = put(tight, path, pieces())
    assert (answer.status_code, answer.json()["code"]) == (413, "quota_exceeded"), answer.text
    assert "Nothing of it was stored" in answer.json()["detail"]
    assert most[0] <= QUOTA + MIB
    until(lambda: stored(tight) == before, "what was refused is gone")
    assert api_of(tight).write(dataset, "fits", os.urandom(2 * MIB)).number == 1


def test_bodies_that_come_at_once_count_together(tight: RunningService, dataset: str) -> None:
    go_on = threading.Event()

    def first() -> Iterator[bytes]:
        yield b"1" * (2 * MIB)
        assert go_on.wait(120)

    def second() -> Iterator[bytes]:
        for _ in range(3):
            yield b"2" * MIB

    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(put, tight, f"/api/v1/datasets/{dataset}/files/1", first())
        try:
            until(lambda: on_disk(tight) >= MIB, "the first body is arriving")
            refused = put(tight, f"/api/v1/datasets/{dataset}/files/2", second())
        finally:
            go_on.set()
        assert refused.status_code == 413
        assert coming.result().status_code == 201
    assert api_of(tight).read(dataset, "1") == b"1" * (2 * MIB)


def test_files_of_drafts_count_until_the_draft_ends(tight: RunningService, dataset: str) -> None:
    api, small = api_of(tight), 900_000
    draft, other = api.draft(dataset), api.draft(dataset)
    for number in range(3):
        draft.put(f"{number}", os.urandom(small))
    with pytest.raises(QuotaExceeded, match="came with drafts and pushes that are not committed"):
        other.put("one too many", os.urandom(small))
    with pytest.raises(QuotaExceeded):
        api.write(dataset, "one too many", os.urandom(small))
    # What waits is not counted twice when it is packed.
    assert draft.commit().files == 3
    with pytest.raises(QuotaExceeded):
        other.put("one too many", os.urandom(small))


def test_a_cancelled_draft_makes_room(tight: RunningService, dataset: str) -> None:
    api = api_of(tight)
    draft = api.draft(dataset)
    for number in range(3):
        draft.put(f"{number}", os.urandom(900_000))
    draft.cancel()
    until(lambda: on_disk(tight) < MIB, "the draft's files are gone")
    assert api.write(dataset, "fits", os.urandom(900_000)).number == 1


def waiting(service: RunningService, dataset: str = "*") -> list[bytes]:
    """The small files that wait for their pack, and whatever else arrived."""
    found: list[bytes] = []
    for path in service.state.objects.glob(f"*/parts/{dataset}/**/*"):
        with suppress(FileNotFoundError):  # It goes just now.
            if path.is_file():
                found.append(path.read_bytes())
    return sorted(found)


def is_open(service: RunningService, upload: str) -> bool:
    found = service.service.database.read_sync(lambda s: s.get(UploadRow, upload))
    return found is not None


def test_what_is_packed_goes_while_another_upload_is_open(
    service: RunningService, request: pytest.FixtureRequest
) -> None:
    api, name = api_of(service), fresh(service, request)
    open_one, pushed = api.draft(name), api.draft(name)
    open_one.put("same", b"both have it")
    pushed.put("same", b"both have it")
    pushed.put("more", b"more")
    for number in range(5):
        api.write(name, "x", b"%d" % number)
    pushed.commit()
    until(lambda: waiting(service, name) == [b"both have it"], "only the open draft's file is left")
    other = api.draft(name)
    other.put("same", b"both have it")
    other.cancel()
    until(lambda: waiting(service, name) == [b"both have it"], "the cancelled draft's file is gone")
    assert open_one.commit().files == 3
    assert {path: api.read(name, path) for path in ("same", "more", "x")} == {
        "same": b"both have it", "more": b"more", "x": b"4"
    }  # fmt: skip
    until(lambda: waiting(service, name) == [], "nothing is left")


def test_what_a_killed_write_left_goes_with_the_next_start(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with running(tmp_path / "state", EXTENSIONS) as service:
        name, killed = fresh(service, request), threading.Event()
        draft = api_of(service).draft(name)
        draft.put("kept", b"kept")

        def cut_off() -> Iterator[bytes]:
            yield b"c" * MIB
            assert killed.wait(120)

        with ThreadPoolExecutor(1) as pool:
            path = f"/api/v1/datasets/{name}/files/x"
            coming = pool.submit(put, service, path, cut_off())
            try:
                until(lambda: on_disk(service) >= MIB, "a body has arrived")
                shutil.copytree(tmp_path / "state", tmp_path / "killed", symlinks=True)
            finally:
                killed.set()
            assert coming.result().status_code == 201
    cut = {p.name.removeprefix("pushed-") for p in tmp_path.glob("killed/*/*/parts/*/pushed-*")}
    assert len(cut) == 2
    with running(tmp_path / "killed", EXTENSIONS) as service:
        until(lambda: waiting(service) == [b"kept"], "what was cut off is gone")
        hub, api = service.transport(), api_of(service)
        ours = draft.id.split(":")[1]
        for version in cut - {ours}:
            with pytest.raises(NotFound):
                hub.get(f"/datasets/{name}/uploads/{version}")
        plain = {"Content-Type": "application/json"}
        where = f"/datasets/{name}/uploads/{ours}/commit-changes"
        hub.request("POST", where, content=b"{}", headers=plain)
        assert api.read(name, "kept") == b"kept"
        assert [v.number for v in api.versions(name)] == [1]


def test_what_another_process_left_goes_after_a_day(
    service: RunningService, request: pytest.FixtureRequest
) -> None:
    api, name = api_of(service), fresh(service, request)
    lost, draft = api.draft(name), api.draft(name)
    draft.put("kept", b"kept")
    lost.put("lost", b"lost")
    space, version = api.get(name).team_id, lost.id.split(":")[1]
    (marker,) = service.state.objects.glob(f"*/parts/*/pushed-{version}")
    (marker / ".one-request").touch()
    api.write(name, "x", b"1")
    collect(service, space)
    until(lambda: waiting(service, name) == [b"", b"kept", b"lost"], "what was packed is gone")
    os.utime(marker / ".one-request", (0, 0))
    api.write(name, "x", b"2")
    until(lambda: waiting(service, name) == [b"kept"], "what was lost is gone")
    until(lambda: is_open(service, lost.id) is False, "and so is its upload")
    with pytest.raises(NotFound):
        lost.commit()
    assert draft.commit().files == 2
