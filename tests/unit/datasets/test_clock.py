"""The machine's clock goes back an hour in the midst of work: nothing is lost or out of order."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from nablahub.datasets.service import DatasetService
from tests.support.clock import Clock
from tests.support.service import RunningService
from tests.unit.datasets.builders import read, write
from tests.unit.datasets.hub import api_of, fresh
from tests.unit.datasets.test_verify import flipped, replace, store_of

HOUR = timedelta(hours=1)


@pytest.fixture
def clock(service: RunningService, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def clean(service: RunningService, clock: Clock, dataset: str) -> None:
    """Do all that takes bytes away, as the service's start and its rounds do."""
    datasets = service.service.context.get(DatasetService)
    space = api_of(service).get(dataset).team_id
    service.service.database.write_sync(datasets.building.resume, service._loop)
    datasets.building.purge(dataset)
    datasets.building.sweeping.remote(space, clock.now() - timedelta(days=1))
    datasets.building.keeping.prune(0)
    datasets.building.collect_now(space)


def test_no_version_and_no_upload_is_taken_away(
    service: RunningService, clock: Clock, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    trees = [
        write(tmp_path / f"tree-{n}", {"small": b"%d of %s" % (n, dataset.encode()) * 9,
                                       "large": b"%d of %s" % (n, dataset.encode()) * 100_000})
        for n in range(5)
    ]  # fmt: skip
    expected = [read(tree) for tree in trees]
    made = [api.upload(dataset, trees[0]).id, api.upload(dataset, trees[1]).id]
    draft = api.draft(dataset)
    draft.put("of the draft", b"begun before")
    body = {"message": "the same"}
    upload = api._hub.post(f"/datasets/{dataset}/uploads", body, key=f"{dataset} before")
    # A collection goes on, too: its day is a week away.
    gone = api.upload(dataset, trees[2]).id
    api.delete_version(gone)
    api.collect(dataset, really=True)

    clock.jump(-HOUR)
    clean(service, clock, dataset)
    made.append(api.upload(dataset, trees[3]).id)
    late = api.draft(dataset)
    late.put("of the late draft", b"begun in the hour that comes twice")
    clean(service, clock, dataset)
    # Sent again it is the same upload, and that is alive.
    assert api._hub.post(f"/datasets/{dataset}/uploads", body, key=f"{dataset} before") == upload
    made.append(draft.commit().id)

    clock.jump(HOUR)
    clean(service, clock, dataset)
    made.append(late.commit().id)
    api._hub.delete(f"/datasets/{dataset}/uploads/{upload['version']}")
    made.append(api.upload(dataset, trees[4]).id)
    clean(service, clock, dataset)

    listed = list(api.versions(dataset))
    assert [version.id for version in listed] == made[::-1]
    assert [version.number for version in listed] == [7, 6, 5, 4, 2, 1]
    moments = [version.created_at for version in listed]
    assert moments != sorted(moments, reverse=True), "the clock did not go back"
    latest = api.get(dataset).latest_version
    assert latest is not None
    assert latest.ref == made[-1]
    again = api._hub.get(f"/datasets/{dataset}/versions", limit=4)
    rest = api._hub.get(f"/datasets/{dataset}/versions", limit=4, cursor=again["next"])
    assert [found["number"] for found in again["items"] + rest["items"]] == [7, 6, 5, 4, 2, 1]
    for version, files in zip((*made[:3], made[-1]), (*expected[:2], *expected[3:]), strict=True):
        api.download(version, tmp_path / version)
        assert read(tmp_path / version) == files
        assert api.verify(version).damaged == []
    assert api.read(made[3], "of the draft") == b"begun before"
    assert api.read(made[4], "of the late draft").startswith(b"begun in the hour")
    api.collect(dataset, undo=True)
    api.restore(gone)
    assert api.verify(gone).damaged == []


def test_what_is_put_again_restores_what_was_damaged(
    service: RunningService, clock: Clock, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    tree = write(tmp_path / "tree", {"a": b"a" * 99, "b": dataset.encode() * 9})
    version = api.upload(dataset, tree).id
    team = api.get(dataset).team_id
    store = store_of(service, team)
    [pack] = store.keys(f"packs/{dataset}")
    whole = store.read(pack)
    replace(service, team, pack, flipped(whole, whole.rindex(b"a" * 99)))
    clock.jump(-HOUR)
    assert [damage.path for damage in api.verify(version).damaged] == ["a"]
    api.upload(dataset, tree)
    assert api.verify(version).damaged == []
    assert api.read(version, "a") == b"a" * 99
