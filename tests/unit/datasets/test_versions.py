"""Tags, differences, lineage, public datasets, deleted versions and what they leave."""

from __future__ import annotations

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from nablahub.core.errors import Invalid
from nablahub.core.times import now
from nablahub.datasets.errors import InUse, NoSuchDataset, NoSuchTag, NoSuchVersion, TagMoved
from nablahub.datasets.service import DatasetService
from nablahub.datasets.store import VersionRow
from nablahub.teams.store import TeamRow
from tests.support.service import RunningService
from tests.unit.datasets.builders import read, write
from tests.unit.datasets.hub import FILES, api_of, fresh


@pytest.fixture
def dataset(service: RunningService, request: pytest.FixtureRequest, tree: Path) -> str:
    """A dataset of two versions: the second lacks a.csv and has b.csv and another 0.bin."""
    name = fresh(service, request)
    api = api_of(service)
    api.upload(name, tree)
    (tree / "a.csv").unlink()
    write(tree, {"b.csv": b"b", "images/0.bin": b"zero"})
    api.upload(name, tree)
    return name


def test_tags_move_in_one_step(service: RunningService, dataset: str) -> None:
    api = api_of(service)
    second, first = (v.version for v in api.versions(dataset))
    assert api.tag(f"{dataset}:{first}", "gold", expected="").version == first
    assert api.version(f"{dataset}:gold").version == first
    with pytest.raises(TagMoved, match=first):
        api.tag(f"{dataset}:{second}", "gold", expected=second)
    with pytest.raises(TagMoved):
        api.tag(f"{dataset}:{second}", "gold", expected="")
    assert api.tag(f"{dataset}:{second}", "gold", expected=first).version == second
    assert [(t.name, t.version, t.set_by) for t in api.tags(dataset)] == [("gold", second, "alice")]
    for name in ("latest", first, "a b", "-x"):
        with pytest.raises(Invalid):
            api.tag(dataset, name)
    api.untag(dataset, "gold")
    with pytest.raises(NoSuchTag):
        api.untag(dataset, "gold")
    with pytest.raises(NoSuchVersion):
        api.version(f"{dataset}:gold")


def test_a_difference_names_each_file(service: RunningService, dataset: str) -> None:
    api = api_of(service)
    second, first = (v.version for v in api.versions(dataset))
    rows = list(api.diff(f"{dataset}:{first}", f"{dataset}:{second}"))
    assert [(r.path, r.change, r.old_size, r.size) for r in rows] == [
        ("a.csv", "removed", len(FILES["a.csv"]), None), ("b.csv", "added", None, 1),
        ("images/0.bin", "changed", 256, 4),
    ]  # fmt: skip
    assert not list(api.diff(dataset, dataset))


def test_lineage_goes_both_ways(service: RunningService, dataset: str, tree: Path) -> None:
    api = api_of(service)
    second, first = (v.id for v in api.versions(dataset))
    other = api.create(f"{dataset} derived").id
    body = {"source": "notebook train.ipynb", "inputs": [first]}
    made = api._hub.post(f"/datasets/{other}/uploads", body)
    line = next(f for f in api.files(second) if f.path == "b.csv")
    text = f"{line.md5} {line.sha256} f 1 b.csv\n".encode()
    api.write(other, "b.csv", b"b")
    commit = f"/datasets/{other}/uploads/{made['version']}/commit"
    derived = api._hub.request("POST", commit, content=text)["id"]
    assert api.lineage(derived).inputs == [first]
    assert api.lineage(derived).source == "notebook train.ipynb"
    found = api.lineage(first)
    assert (found.outputs, found.children, found.parent) == ([derived], [second], None)
    assert api.lineage(second).parent == first
    with pytest.raises(InUse, match=derived):
        api.delete_version(first)


def test_a_public_dataset_is_read_by_all_and_written_by_none(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    api, theirs = api_of(service), api_of(service, "bob")
    name = api.get(dataset).name
    for ref in (dataset, f"alice/{name}"):
        with pytest.raises((NoSuchDataset, IndexError)):
            theirs.version(ref)
    made = api._hub.patch(
        f"/datasets/{dataset}", {"public": True}, revision=api.get(dataset).revision
    )
    assert made["public"] is True
    for number, ref in enumerate((dataset, f"alice/{name}", f"alice/{name}:latest")):
        theirs.download(ref, tmp_path / str(number))
        assert read(tmp_path / str(number))["b.csv"] == b"b"
    with pytest.raises(NoSuchDataset):
        theirs.write(dataset, "x", b"x")
    with pytest.raises(NoSuchDataset):
        theirs.tag(dataset, "mine")
    with pytest.raises(NoSuchDataset):
        theirs.delete(dataset)


def purge_now(service: RunningService, dataset: str) -> None:
    """Let the day of all condemned versions come."""
    datasets = service.service.context.get(DatasetService)

    def work(session: Session) -> str:
        for row in session.query(VersionRow).filter_by(dataset_id=dataset):
            if row.purge_at is not None:
                row.purge_at = now() - timedelta(seconds=1)
        return session.query(TeamRow).filter_by(name="alice", kind="private").one().id

    team = service.service.database.write_sync(work)
    datasets.building.purge(dataset)
    datasets.building.collect_now(team)


def test_a_deleted_version_comes_back_or_goes_for_good(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    api = api_of(service)
    second, first = (v.id for v in api.versions(dataset))
    api.tag(first, "kept")
    with pytest.raises(InUse, match="kept"):
        api.delete_version(first)
    api.untag(dataset, "kept")

    assert api.collect(dataset).count == 0
    api.delete_version(first)
    assert [v.id for v in api.versions(dataset)] == [second]
    with pytest.raises(NoSuchVersion):
        api.version(first)
    assert api.restore(first).id == first
    api.download(first, tmp_path / "back")
    assert read(tmp_path / "back") == FILES

    api.delete_version(first)
    plan = api.collect(dataset)
    assert {f.path for f in plan.files} == {"a.csv", "images/0.bin"}
    assert plan.until is None
    assert api.collect(dataset, really=True).until is not None
    assert api.collect(dataset, undo=True).versions == [first]
    purge_now(service, dataset)
    assert api.restore(first).id == first

    api.delete_version(first)
    api.collect(dataset, really=True)
    purge_now(service, dataset)
    with pytest.raises(NoSuchVersion):
        api.restore(first)
    # What is left is whole: shared pages and packs stayed.
    api.download(second, tmp_path / "second")
    wanted = {k: v for k, v in FILES.items() if k != "a.csv"}
    assert read(tmp_path / "second") == {**wanted, "b.csv": b"b", "images/0.bin": b"zero"}
    assert not api.verify(second).damaged


def test_a_purge_leaves_an_upload_that_goes_on_alone(service: RunningService, dataset: str) -> None:
    api = api_of(service)
    _, first = (v.id for v in api.versions(dataset))
    draft = api.draft(dataset)
    draft.put("c", b"c")
    api.delete_version(first)
    api.collect(dataset, really=True)
    purge_now(service, dataset)
    made = draft.commit()
    assert not api.verify(made.id).damaged
    with contextlib.suppress(NoSuchVersion):
        api.restore(first)


def test_the_latest_goes_back_when_it_is_deleted(service: RunningService, dataset: str) -> None:
    api = api_of(service)
    second, first = (v.id for v in api.versions(dataset))
    api.delete_version(second)
    assert api.version(dataset).id == first
    assert api.restore(second).id == api.version(dataset).id == second


def test_what_is_wrong_on_the_hub_is_found(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    api = api_of(service)
    assert not api.verify(dataset).damaged
    out = tmp_path / "out"
    api.download(dataset, out)
    assert not api.differing(dataset, out)
    (out / "b.csv").write_bytes(b"c")
    (out / "images/1.bin").unlink()
    assert api.differing(dataset, out) == ["b.csv", "images/1.bin"]
    packs = list(service.state.objects.glob(f"*/packs/{dataset}/*"))
    for pack in packs:
        data = pack.read_bytes()
        pack.chmod(0o600)
        pack.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    # An S3 has no files here; what becomes of it there is seen in test_verify.
    assert bool(api.verify(dataset).damaged) is bool(packs)
