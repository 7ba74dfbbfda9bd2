"""Versions built file by file, beside those of others."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from nablahub.core.errors import Malformed, NotFound
from nablahub.datasets.drafts import Drafts
from nablahub.datasets.errors import (
    BadPath,
    DraftClash,
    MissingObjects,
    MovedOn,
    NoSuchDataset,
    NoSuchFile,
)
from tests.support.service import RunningService
from tests.support.stores import stored
from tests.support.waiting import until
from tests.unit.datasets.builders import read, write
from tests.unit.datasets.hub import FILES, api_of, fresh


@pytest.fixture
def dataset(service: RunningService, request: pytest.FixtureRequest, tree: Path) -> str:
    name = fresh(service, request)
    api_of(service).upload(name, tree)
    return name


def files_of(service: RunningService, ref: str, target: Path) -> dict[str, bytes]:
    api_of(service).download(ref, target)
    return read(target)


def test_a_draft_puts_drops_and_renames(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    api = api_of(service)
    before = stored(service)
    big = tmp_path / "big"
    big.write_bytes(b"b" * 3_000_000)
    with api.draft(dataset, message="some of it") as draft:
        draft.put("new/file.txt", b"new")
        draft.put("run.sh", b"#!/bin/sh\n", executable=True)
        draft.put("big2.bin", big)
        draft.remove("page.html")
        draft.rename("images/0.bin", "moved/ä.bin")
        shown = {(c.path, c.change) for c in draft.changes()}
        assert ("page.html", "removed") in shown
        assert ("moved/ä.bin", "put") in shown
        made = draft.commit()
    assert (made.message, made.files, made.number) == ("some of it", len(FILES) + 2, 2)
    wanted = {k: v for k, v in FILES.items() if k not in ("page.html", "images/0.bin")}
    wanted |= {
        "new/file.txt": b"new", "run.sh": b"#!/bin/sh\n", "moved/ä.bin": FILES["images/0.bin"],
        "big2.bin": b"b" * 3_000_000,
    }  # fmt: skip
    assert files_of(service, made.id, tmp_path / "out") == wanted
    assert (tmp_path / "out/run.sh").stat().st_mode & 0o100
    # What came is one pack, one large object and a manifest; what was there was not touched.
    assert before < stored(service)
    # The same tree, put as a whole, is the same manifest.
    other = api.create(f"{dataset} again").id
    assert api.upload(other, tmp_path / "out").digest == made.digest


def test_a_draft_takes_files_by_the_hashes_of_bytes_that_are_there(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    api, hub = api_of(service), service.transport()
    known = next(f for f in hub.get(f"/datasets/{dataset}/versions/latest/files")["items"])
    line = f"{known['md5']} {known['sha256']} f {known['size']} twin/ü.bin\n"
    draft = api.draft(dataset)
    path = f"/datasets/{dataset}/uploads/{draft.id.split(':')[1]}/changes"
    plain = {"Content-Type": "text/plain"}
    text = f"- page.html\n{line}".encode()
    hub.request("POST", path, content=text, headers=plain)
    made = draft.commit()
    wanted = {k: v for k, v in FILES.items() if k != "page.html"}
    wanted["twin/ü.bin"] = FILES[known["path"]]
    assert files_of(service, made.id, tmp_path / "out") == wanted

    # What never came is no file, and what a draft lacks cannot go.
    draft = api.draft(dataset)
    path = f"/datasets/{dataset}/uploads/{draft.id.split(':')[1]}/changes"
    with pytest.raises(NoSuchFile):
        hub.request("POST", path, content=b"- page.html\n", headers=plain)
    absent = f"{'0' * 32} {'0' * 64} f 1 absent\n".encode()
    hub.request("POST", path, content=absent, headers=plain)
    with pytest.raises(MissingObjects):
        draft.commit()


def test_drafts_of_disjoint_paths_are_both_in(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    api = api_of(service)
    first, second = api.draft(dataset), api.draft(dataset)
    first.put("one", b"1")
    second.put("two", b"2")
    second.remove("a.csv")
    first.commit()
    made = second.commit()
    assert made.number == 3
    wanted = {k: v for k, v in FILES.items() if k != "a.csv"} | {"one": b"1", "two": b"2"}
    assert files_of(service, made.id, tmp_path / "out") == wanted


def test_many_writers_lose_nothing(service: RunningService, dataset: str, tmp_path: Path) -> None:
    def work(number: int) -> None:
        draft = api_of(service).draft(dataset)
        draft.put(f"by/{number}", str(number).encode())
        draft.commit()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(12)))
    found = files_of(service, dataset, tmp_path / "out")
    assert {k: v for k, v in found.items() if k.startswith("by/")} == {
        f"by/{n}": str(n).encode() for n in range(12)
    }


def test_a_clash_names_the_paths_and_commits_nothing(service: RunningService, dataset: str) -> None:
    api = api_of(service)
    first, second = api.draft(dataset), api.draft(dataset)
    for draft, data in ((first, b"1"), (second, b"2")):
        draft.put("a.csv", data)
        draft.put(f"only-{data.decode()}", data)
    made = first.commit()
    with pytest.raises(DraftClash, match=r"a\.csv") as found:
        second.commit()
    assert [fault.message for fault in found.value.errors] == ["a.csv"]
    assert api.version(dataset).id == made.id
    # The same bytes are no clash.
    second.put("a.csv", b"1")
    assert second.commit().files == made.files + 1


def test_a_file_where_another_made_a_folder_is_a_clash(
    service: RunningService, dataset: str
) -> None:
    api = api_of(service)
    first, second = api.draft(dataset), api.draft(dataset)
    first.put("x/y", b"1")
    second.put("x", b"2")
    first.commit()
    with pytest.raises(DraftClash, match="x"):
        second.commit()


def test_without_rebase_a_later_version_is_refused(service: RunningService, dataset: str) -> None:
    api = api_of(service)
    first, second = api.draft(dataset), api.draft(dataset)
    first.put("one", b"1")
    second.put("two", b"2")
    first.commit()
    with pytest.raises(MovedOn):
        second.commit(rebase=False)


def test_what_a_dataset_can_not_have_is_refused(service: RunningService, dataset: str) -> None:
    api = api_of(service)
    draft = api.draft(dataset)
    for path in ("images/0.bin/inside", "images"):
        draft = api.draft(dataset)
        draft.put(path, b"x")
        with pytest.raises(BadPath):
            draft.commit()
    with pytest.raises(BadPath):
        draft.put("a\nb", b"x")
    with pytest.raises(NoSuchFile):
        draft.remove("nothing")
    with pytest.raises(NoSuchFile):
        draft.rename("nothing", "something")


def test_a_draft_of_an_empty_dataset(
    service: RunningService, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name = fresh(service, request)
    made = api_of(service).write(name, "first", b"1", message="m")
    assert made.number == 1
    assert files_of(service, name, tmp_path / "out") == {"first": b"1"}


def test_one_file_is_written_in_one_request(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    api, hub = api_of(service), service.transport("alice")
    big = b"b" * 3_000_000
    where = f"/datasets/{dataset}/files/new/b%C3%A4g"
    asked: dict[str, Any] = {
        "content": big, "params": {"message": "big", "executable": "true"},
        "headers": {"Idempotency-Key": "k1"},
    }  # fmt: skip
    first = hub.request("PUT", where, **asked)
    assert (first["number"], first["message"], first["author"]) == (2, "big", "alice")
    # Sent again it is the same version; with another key, or another file, a new one.
    assert hub.request("PUT", where, **asked) == first
    other = hub.request("PUT", f"/datasets/{dataset}/files/small", **asked | {"content": b"s"})
    assert other["number"] == 3
    assert api.write(dataset, "small", b"s2").number == 4
    with pytest.raises(Malformed, match="1 to 255"):
        hub.request("PUT", where, **asked | {"headers": {"Idempotency-Key": ""}})
    found = files_of(service, dataset, tmp_path / "out")
    assert found == {**FILES, "new/bäg": big, "small": b"s2"}
    assert (tmp_path / "out/new/bäg").stat().st_mode & 0o100


def test_the_same_write_sent_many_times_at_once_is_one_version(
    service: RunningService, dataset: str
) -> None:
    hub = service.transport("alice")

    def send(number: int) -> str:
        content, key = str(number % 2).encode(), {"Idempotency-Key": f"key {number % 2}"}
        path = f"/datasets/{dataset}/files/f{number % 2}"
        return str(hub.request("PUT", path, content=content, headers=key)["id"])

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(send, range(16)))
    assert len(set(made)) == 2
    assert {version.id for version in api_of(service).versions(dataset)} > set(made)
    assert api_of(service).version(dataset).number == 3


def test_the_same_large_file_written_to_many_paths_at_once(
    service: RunningService, dataset: str, tmp_path: Path
) -> None:
    def send(number: int, data: bytes) -> None:
        api_of(service).write(dataset, f"f{number}", data)

    wanted = dict(FILES)
    with ThreadPoolExecutor(6) as pool:
        for turn in range(4):
            data, numbers = bytes([turn]) * 3_000_000, range(turn * 6, turn * 6 + 6)
            list(pool.map(send, numbers, [data] * 6))
            wanted |= {f"f{number}": data for number in numbers}
    assert files_of(service, dataset, tmp_path / "out") == wanted


def test_a_write_that_is_refused_leaves_nothing(service: RunningService, dataset: str) -> None:
    hub, before = service.transport("alice"), stored(service)
    for path in ("images/0.bin/inside", "images", "..%2Fx", "a%0Ab"):
        with pytest.raises((BadPath, NotFound)):
            hub.request("PUT", f"/datasets/{dataset}/files/{path}", content=b"x")
    with pytest.raises(NoSuchDataset):
        service.transport("bob").request("PUT", f"/datasets/{dataset}/files/x", content=b"x")
    assert api_of(service).version(dataset).number == 1
    until(lambda: stored(service) == before, "what was refused is gone")


def test_an_upload_of_what_changed_is_the_whole_tree(
    service: RunningService, dataset: str, tree: Path, tmp_path: Path
) -> None:
    api = api_of(service)
    assert api.upload(dataset, tree).number == 1  # Nothing changed.
    write(tree, {"a.csv": b"changed", "more/x": b"more"})
    (tree / "images/1.bin").unlink()
    made = api.upload(dataset, tree)
    assert (made.number, made.dvc_md5) in ((2, None), (2, api.version(dataset).dvc_md5))
    wanted = {k: v for k, v in FILES.items() if k != "images/1.bin"}
    assert files_of(service, dataset, tmp_path / "out") == {
        **wanted, "a.csv": b"changed", "more/x": b"more"
    }  # fmt: skip
    assert api.upload(dataset, tree, again=True).number == 3


def test_what_is_put_while_a_draft_is_committed_is_in_its_version(
    service: RunningService, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = api_of(service)
    draft, late = api.draft(dataset), threading.Event()
    pack = Drafts._pack

    def put_meanwhile(self: Drafts, *given: Any) -> None:
        if not late.is_set():
            late.set()
            draft.put("late", b"late")
        pack(self, *given)

    monkeypatch.setattr(Drafts, "_pack", put_meanwhile)
    draft.put("early", b"early")
    made = draft.commit()
    assert {path: api.read(made.id, path) for path in ("early", "late")} == {
        "early": b"early", "late": b"late",
    }  # fmt: skip
