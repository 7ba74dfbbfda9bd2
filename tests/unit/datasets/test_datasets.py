"""Datasets through the real service and the real client."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from nablahub.core import errors
from nablahub.datasets.errors import (
    NameTaken,
    NoSuchDataset,
    NoSuchFile,
    NoSuchVersion,
)
from nablahub.datasets.packs import SMALL
from tests.support.service import RunningService
from tests.support.stores import collect, stored
from tests.unit.datasets.builders import entries, read, write
from tests.unit.datasets.hub import FILES, api_of, fresh


def test_create_get_change_delete(service: RunningService) -> None:
    api = api_of(service)
    project = service.hub().projects.create("p-of-datasets")
    made = api.create("first", project=project.id, description="What it is")
    assert (made.project_id, made.team_id, made.latest_version) == (
        project.id,
        project.team_id,
        None,
    )
    assert made.id.startswith("ds")
    assert len(made.id) == 15
    assert api.get("first") == api.get(made.id) == made
    changed = api.change(made, name="second")
    assert (changed.name, changed.revision) == ("second", 2)
    assert [d.id for d in api.list(project=project.id)] == [made.id]
    with pytest.raises(errors.Conflict, match="1 dataset"):
        service.hub().projects.delete(project.id)
    api.delete("second")
    with pytest.raises(NoSuchDataset):
        api.get(made.id)
    service.hub().projects.delete(project.id)


@pytest.mark.parametrize("name", ["a/b", "a:b", "", "..", " a", "a\n", "x" * 101])
def test_names_that_are_refused(service: RunningService, name: str) -> None:
    with pytest.raises(errors.Invalid) as caught:
        api_of(service).create(name)
    assert caught.value.errors[0].pointer == "/name"


def test_a_name_is_unique_in_its_team_only(service: RunningService) -> None:
    api_of(service).create("mine")
    with pytest.raises(NameTaken, match="'mine' already"):
        api_of(service).create("mine")
    api_of(service, "bob").create("mine")


def test_ensure_hands_out_no_dataset_of_another_project(service: RunningService) -> None:
    projects, api = service.hub().projects, api_of(service)
    ours, other = (projects.create(f"{name} of ensure").id for name in ("ours", "other"))
    made = api.ensure("ensured", project=ours)
    assert api.ensure("ensured", project=ours) == api.ensure("ensured") == made
    with pytest.raises(errors.Conflict, match="'ours of ensure', not to 'other of ensure'"):
        api.ensure("ensured", project=other)
    api.create("homeless")
    with pytest.raises(errors.Conflict, match="no project, not to 'other of ensure'"):
        api.ensure("homeless", project=other)


def test_a_folder_goes_up_and_comes_back(
    service: RunningService, tree: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    api = api_of(service)
    dataset = fresh(service, request)
    seen: list[tuple[int, int]] = []
    (tree / "a.csv").chmod(0o755)
    made = api.upload(dataset, tree, message="One", progress=lambda *done: seen.append(done))
    total = sum(map(len, FILES.values()))
    assert (made.files, made.bytes, made.number, made.message) == (len(FILES), total, 1, "One")
    assert made.id == f"{dataset}:{made.version}"
    assert seen[-1] == (total, total)
    for ref in (dataset, f"{dataset}:latest", made.id, f"{api.get(dataset).name}:{made.version}"):
        assert api.version(ref).id == made.id
    api.download(dataset, tmp_path / "back", progress=lambda *done: seen.append(done))
    assert read(tmp_path / "back") == FILES
    assert (tmp_path / "back/a.csv").stat().st_mode & 0o111
    assert not (tmp_path / "back/big.bin").stat().st_mode & 0o111
    assert seen[-1] == (total, total)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    rows = {f.path: (f.size, f.md5, f.sha256) for f in api.files(dataset)}
    assert rows == {e.path: (e.size, e.md5, e.sha256) for e in entries(FILES)}
    assert [f.path for f in api.files(dataset, prefix="images/")] == [
        "images/0.bin",
        "images/1.bin",
    ]
    for path, data in FILES.items():
        assert api.read(dataset, path) == data
    with pytest.raises(NoSuchFile, match="nothing here"):
        api.read(dataset, "nothing here")
    with pytest.raises(NoSuchVersion):
        api.version(f"{dataset}:zzzzzzz")


def test_a_second_download_repairs_what_differs(
    service: RunningService, tree: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    api.upload(dataset, tree)
    target = tmp_path / "back"
    api.download(dataset, target)
    (target / "a.csv").write_bytes(b"x,y\n9,9\n")
    (target / "big.bin").unlink()
    kept = (target / "images/0.bin").stat().st_mtime_ns
    api.download(dataset, target)
    assert read(target) == FILES
    assert (target / "images/0.bin").stat().st_mtime_ns == kept
    api.download(dataset, tmp_path / "one.csv", path="a.csv")
    assert (tmp_path / "one.csv").read_bytes() == FILES["a.csv"]


@pytest.mark.parametrize("there", ["a.csv/mine", "images"])
def test_a_download_puts_no_file_in_a_folders_place(
    service: RunningService,
    tree: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    there: str,
) -> None:
    api, name = api_of(service), fresh(service, request)
    version = api.upload(name, tree)
    target = write(tmp_path / "mine", {there: b"mine"})
    with pytest.raises(errors.Conflict, match=r"of that name would come in its place"):
        api.download(version.id, target)
    assert read(target) == {there: b"mine"}


def test_a_large_download_goes_on_where_it_stopped(
    service: RunningService, tree: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    api.upload(dataset, tree)
    md5 = next(f.md5 for f in api.files(dataset) if f.path == "big.bin")
    (tmp_path / f".{md5}.nablahub-part").write_bytes(FILES["big.bin"][:1_000_000])
    seen: list[int] = []
    api.download(
        dataset, tmp_path / "big.bin", path="big.bin", progress=lambda done, _: seen.append(done)
    )
    assert seen[0] == 1_000_000
    assert (tmp_path / "big.bin").read_bytes() == FILES["big.bin"]


def test_only_what_changed_is_sent_again(
    service: RunningService, tree: Path, request: pytest.FixtureRequest
) -> None:
    api, dataset = api_of(service), fresh(service, request)
    first = api.upload(dataset, tree)
    before = stored(service)
    assert api.upload(dataset, tree).id == first.id
    assert stored(service) == before
    second = api.upload(dataset, tree, again=True)
    assert second.digest == first.digest
    assert (second.number, second.id != first.id) == (2, True)
    added = stored(service) - before
    assert [Path(p).parts[-3] for p in added] == ["manifests"]
    (tree / "a.csv").write_bytes(b"changed")
    third = api.upload(dataset, tree)
    assert api.read(dataset, "a.csv") == b"changed"
    assert api.read(first.id, "a.csv") == FILES["a.csv"]
    assert [v.id for v in api.versions(dataset)] == [third.id, second.id, first.id]


def test_small_objects_lie_in_packs_only(
    service: RunningService, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dataset = fresh(service, request)
    files = {f"{i:04}": b"%d" % i for i in range(3000)}
    before = stored(service)
    api_of(service).upload(dataset, write(tmp_path / "many", files))
    kinds = sorted(Path(p).parts[-3] for p in stored(service) - before)
    assert kinds == ["manifests", "packs"]
    api_of(service).download(dataset, tmp_path / "back")
    assert read(tmp_path / "back") == files


def test_pages_of_files(
    service: RunningService, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dataset = fresh(service, request)
    files = {f"{i:04}": b"" for i in range(45)}
    api_of(service).upload(dataset, write(tmp_path / "many", files))
    hub = service.transport()
    path, found, cursor = f"/datasets/{dataset}/versions/latest/files", [], None
    for _ in range(5):
        page = hub.get(path, limit=10, cursor=cursor)
        found += [item["path"] for item in page["items"]]
        cursor = page["next"]
    assert (found, cursor) == (sorted(files), None)


def test_files_are_found_by_a_part_of_their_path(
    service: RunningService,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    dataset = fresh(service, request)
    files = dict.fromkeys(("Cats/1.png", "Cats/2.png", "dogs/1.png", "ÄÖ.txt"), b"")
    api_of(service).upload(dataset, write(tmp_path / "some", files))
    path = f"/datasets/{dataset}/versions/latest/files"
    hub = service.transport()

    def found(text: str, **more: object) -> tuple[list[str], str | None]:
        page = hub.get(path, contains=text, **more)
        return [item["path"] for item in page["items"]], page["next"]

    assert found("1.PNG") == (["Cats/1.png", "dogs/1.png"], None)
    assert found("äö") == (["ÄÖ.txt"], None)
    assert found("cats", limit=1) == (["Cats/1.png"], "Cats/1.png")
    assert found("cats", limit=1, cursor="Cats/1.png") == (["Cats/2.png"], "Cats/2.png")
    assert found("cats", cursor="Cats/2.png") == ([], None)


def test_content_is_never_run_by_a_browser(
    service: RunningService, tree: Path, request: pytest.FixtureRequest
) -> None:
    dataset = fresh(service, request)
    api_of(service).upload(dataset, tree)
    base = f"{service.url}/api/v1/datasets/{dataset}/versions/latest/files"
    headers = {"Authorization": "Bearer token-of-alice"}
    with httpx.Client(headers=headers) as client:
        page = client.get(f"{base}/page.html")
        assert page.content == FILES["page.html"]
        assert page.headers["content-type"] == "application/octet-stream"
        assert page.headers["content-disposition"].startswith("attachment")
        assert page.headers["content-security-policy"].startswith("sandbox")
        assert page.headers["x-content-type-options"] == "nosniff"
        part = client.get(f"{base}/big.bin", headers={"Range": "bytes=100-299"})
        assert (part.status_code, part.content) == (206, FILES["big.bin"][100:300])
        assert part.headers["content-range"] == f"bytes 100-299/{len(FILES['big.bin'])}"
        end = client.get(f"{base}/images/0.bin", headers={"Range": "bytes=-6"})
        assert end.content == FILES["images/0.bin"][-6:]
        after = client.get(f"{base}/a.csv", headers={"Range": "bytes=999-"})
        assert after.status_code == 422
        head = client.head(f"{base}/a.csv")
        assert (head.status_code, head.headers["content-length"]) == (200, "8")
        assert client.get(f"{base}/..%2F..%2Fetc/passwd").status_code == 404


def test_what_is_not_yours_does_not_exist(
    service: RunningService, tree: Path, request: pytest.FixtureRequest
) -> None:
    dataset = fresh(service, request)
    version = api_of(service).upload(dataset, tree)
    bob = api_of(service, "bob")
    for attempt in (
        lambda: bob.get(dataset), lambda: bob.version(version.id),
        lambda: bob.read(dataset, "a.csv"), lambda: bob.upload(dataset, tree),
        lambda: bob.delete(dataset),
        lambda: list(bob.files(dataset)), lambda: list(bob.versions(dataset)),
        lambda: bob.export_dvc(dataset),
    ):  # fmt: skip
        with pytest.raises(NoSuchDataset):
            attempt()


def test_deleting_frees_the_bytes_but_not_those_of_others(
    service: RunningService, tree: Path, request: pytest.FixtureRequest
) -> None:
    api = api_of(service)
    other = fresh(service, request)
    api.upload(other, tree)
    before = stored(service)
    dataset = api.create("to-be-deleted").id
    (tree / "own.bin").write_bytes(b"o" * (SMALL + 5))
    api.upload(dataset, tree)
    assert stored(service) > before
    api.delete(dataset)
    team = api.get(other).team_id
    collect(service, team)
    assert stored(service) == before
    assert api.read(other, "big.bin") == FILES["big.bin"]


def test_events_tell_of_new_versions(
    service: RunningService, tree: Path, request: pytest.FixtureRequest
) -> None:
    dataset = fresh(service, request)
    hub = service.transport()
    events = hub.events(after=0)
    try:
        version = api_of(service).upload(dataset, tree)
        for event in events:
            if event.data["id"] == dataset and event.data["type"] == "changed":
                assert event.data["data"]["latest"] == version.id
                break
    finally:
        events.close()


def test_the_same_large_file_under_many_names_is_downloaded(
    service: RunningService, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    api = api_of(service)
    name = fresh(service, request)
    wanted = {f"{number}": b"s" * 3_000_000 for number in range(6)}
    api.upload(name, write(tmp_path / "same", wanted))
    api.download(name, tmp_path / "out")
    assert read(tmp_path / "out") == wanted
