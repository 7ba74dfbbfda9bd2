"""Folders of a bucket in a server that runs: by FUSE where it works, and by a copy everywhere."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy.orm import Session

from nablahub.core.errors import NablaError, NotFound
from nablahub.core.state import StateDir
from nablahub.jobs.runners.process.shutdown import end_all
from nablahub.mounts import buckets, propagation
from nablahub.mounts.api import MountsAPI
from nablahub.mounts.store import MountRow
from nablahub.mounts.view import BUCKETS_VARIABLE, CACHE_VARIABLE, SERVER_VARIABLE, VARIABLE
from nablahub.storage.mounting import fuse
from nablahub.storage.mounting.errors import NotWrittenBack
from nablahub.storage.service import StorageService
from nablahub.storage.store import StorageProviderRow
from tests.support import waiting
from tests.support.relay import relayed
from tests.support.s3 import SeaweedFS
from tests.unit.datasets.hub import api_of
from tests.unit.mounts.places import Place

#: Without FUSE the same suite holds for the copy, which every machine has.
WAYS = ("copy", "fuse") if fuse.missing() is None else ("copy",)


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "state of it"
    monkeypatch.setenv(VARIABLE, str(root / "run/servers" / _slug() / "datasets"))
    monkeypatch.setenv(CACHE_VARIABLE, str(root / "cache"))
    monkeypatch.setenv(BUCKETS_VARIABLE, str(root / "server-buckets" / _slug()))
    monkeypatch.setenv(SERVER_VARIABLE, "")
    return root


def _slug() -> str:
    return StateDir.server_name("alice", "")


def _ended(place: Place) -> None:
    place.kill_server()
    place.service.stop()
    end_all(place.service.state)
    assert not [at for at in propagation._table("self") if str(place.root) in at]


@pytest.fixture(params=WAYS)
def place(request: pytest.FixtureRequest, environment: Path, s3: SeaweedFS) -> Iterator[Place]:
    made = Place(environment, s3, request.param)
    yield made
    _ended(made)


@pytest.fixture
def copied(environment: Path, s3: SeaweedFS) -> Iterator[Place]:
    made = Place(environment, s3, "copy")
    yield made
    _ended(made)


def test_a_folder_is_read_while_a_server_runs(place: Place) -> None:
    place.put(raw__a=b"one", raw__deep__b=b"two", other=b"not seen", rawer=b"not seen")
    told: list[str] = []
    made = place.api.mount("s3:ours/raw", tell=told.append)
    assert (made.path, made.source, made.state) == ("/datasets/raw", "s3:ours/raw", "Ready")
    shown = place.view / "raw"
    assert sorted(p.name for p in shown.iterdir()) == ["a", "deep"]
    assert (shown / "deep" / "b").read_bytes() == b"two"
    assert place.api.mount("s3:ours", "all").path == "/datasets/all"
    assert (place.view / "all" / "other").read_bytes() == b"not seen"
    if place.by == "fuse":
        with pytest.raises(OSError, match="Read-only"):
            (shown / "new").touch()
    else:
        (shown / "new").touch()  # Without a sandbox nothing keeps one from it.
    (version,) = _dataset(place)
    place.api.mount(version, "set")
    assert {m.path: m.source for m in place.api.list()} == {
        "/datasets/raw": "s3:ours/raw", "/datasets/all": "s3:ours", "/datasets/set": version
    }  # fmt: skip
    for name in ("raw", "all", "set"):
        place.api.unmount(name)
    assert list(place.view.iterdir()) == []
    assert place.on_machine() == []
    assert place.objects() == {"raw/a", "raw/deep/b", "other", "rawer"}


def _dataset(place: Place) -> list[str]:
    api = api_of(place.service, "alice")
    api.create("digits")
    return [api.write("digits", "a.txt", b"1").id]


def test_what_is_written_is_in_the_bucket_when_it_is_asked_for_and_when_it_is_unmounted(
    place: Place,
) -> None:
    place.put(raw__kept=b"kept", raw__changed=b"old", raw__gone=b"gone")
    place.api.mount("s3:ours/raw", "out", read_only=False)
    shown = place.view / "out"
    (shown / "changed").write_bytes(b"new")
    (shown / "gone").unlink()
    (shown / "deep").mkdir()
    (shown / "deep" / "made").write_bytes(b"x" * (9 << 20))
    done = place.api.send("out")
    assert (done.todo, done.unsent, done.state) == ("", "", "Ready")
    assert place.objects() == {"raw/kept", "raw/changed", "raw/deep/made"}
    assert (place.get("raw/changed"), len(place.get("raw/deep/made"))) == (b"new", 9 << 20)
    (shown / "late").write_bytes(b"late")
    (shown / "changed").write_bytes(b"newer")
    place.api.unmount("/datasets/out")
    assert (place.get("raw/late"), place.get("raw/changed")) == (b"late", b"newer")
    assert place.on_machine() == []
    with pytest.raises(NotFound):
        place.api.unmount("out")


def test_a_killed_server_loses_nothing_and_has_it_again(place: Place) -> None:
    place.put(raw__a=b"one")
    place.api.mount("s3:ours/raw", read_only=False)
    (place.view / "raw" / "b").write_bytes(b"two")
    place.kill_server()
    assert place.until_stopped("raw").unsent == ""
    assert place.get("raw/b") == b"two"
    assert place.on_machine() == []
    place.put(raw__c=b"three")
    place.start_server()
    assert place.api.restore() == []
    shown = place.view / "raw"
    assert [(shown / n).read_bytes() for n in "abc"] == [b"one", b"two", b"three"]
    (shown / "d").write_bytes(b"4")
    place.api.unmount("raw")
    assert place.get("raw/d") == b"4"


def test_a_service_that_was_away_sends_what_a_server_left(place: Place) -> None:
    place.put(raw__a=b"one")
    place.api.mount("s3:ours/raw", read_only=False)
    place.service.stop()
    (place.view / "raw" / "b").write_bytes(b"two")
    place.kill_server()
    place.begin()
    place.until_stopped("raw")
    assert place.get("raw/b") == b"two"
    assert place.on_machine() == []


def test_it_outlives_the_service(place: Place) -> None:
    place.put(raw__a=b"one")
    place.api.mount("s3:ours/raw", read_only=False)
    place.service.stop()
    shown = place.view / "raw"
    assert (shown / "a").read_bytes() == b"one"
    (shown / "b").write_bytes(b"two")
    place.begin()
    assert place.api.send("raw").unsent == ""
    assert place.get("raw/b") == b"two"
    if place.by == "fuse":  # As when the machine had no memory left: made again when asked for.
        table = [p for p in Path("/proc").iterdir() if p.name.isdigit()]
        (keeper,) = [p for p in table if _serves(p, str(place.seen))]
        os.kill(int(keeper.name), signal.SIGKILL)
        with pytest.raises(OSError, match="connect"):
            list(shown.iterdir())
        assert place.api.restore() == []
        assert (shown / "b").read_bytes() == b"two"
    # A server that is there again at once finds it as it was.
    place.kill_server()
    place.start_server()
    assert place.api.restore() == []
    assert place.mounted("raw").state == "Ready"
    assert (shown / "b").read_bytes() == b"two"


def _serves(process: Path, shown: str) -> bool:
    try:
        words = (process / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[1:2] == [b"mount"] and any(word.startswith(shown.encode()) for word in words)


def test_what_does_not_reach_the_bucket_is_told_and_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuse, "STUCK_SECONDS", 1)
    monkeypatch.setattr(fuse, "END_SECONDS", 1)
    monkeypatch.setattr(buckets, "AGAIN_SECONDS", 1)
    place.put(raw__a=b"one")
    port = urlsplit(place.s3.endpoint).port
    assert port is not None
    there = {"endpoint": f"http://127.0.0.2:{port}"}
    with relayed("127.0.0.2", port):
        place.storage.change(place.storage.get("ours"), **there)
        place.api.mount("s3:ours/raw", read_only=False)
        assert (place.view / "raw" / "a").read_bytes() == b"one"
    # From here on nothing reaches the store.
    (place.view / "raw" / "new").write_bytes(b"2")
    for attempt in (place.api.send, place.api.unmount):
        with pytest.raises(NotWrittenBack, match="/datasets/raw: ") as refused:
            attempt("raw")
        assert "--discard" in refused.value.hint
    waiting.until(lambda: place.mounted("raw").state == "Ready", "it is shown again")
    if place.by == "copy":
        assert (place.view / "raw" / "new").read_bytes() == b"2"
    place.kill_server()
    waiting.until(lambda: place.until_stopped("raw").unsent, "it is told")
    assert place.objects() == {"raw/a"}
    with relayed("127.0.0.2", port):  # And now it does.
        waiting.until(lambda: place.mounted("raw").unsent == "", "what was kept is sent")
    assert place.get("raw/new") == b"2"
    assert place.on_machine() == []


def test_what_others_changed_stays_and_the_rest_can_be_let_go(copied: Place) -> None:
    copied.put(raw__mine=b"1", raw__theirs=b"1")
    copied.api.mount("s3:ours/raw", read_only=False)
    shown = copied.view / "raw"
    (shown / "mine").write_bytes(b"2")
    (shown / "theirs").write_bytes(b"2")
    copied.put(raw__theirs=b"3")
    with pytest.raises(NotWrittenBack, match="theirs: the bucket has another one"):
        copied.api.unmount("raw")
    assert (copied.get("raw/mine"), copied.get("raw/theirs")) == (b"2", b"3")
    waiting.until(lambda: copied.mounted("raw").state == "Ready", "it is shown again")
    assert (shown / "theirs").read_bytes() == b"2"
    # A restart does not lose it, and says it.
    copied.kill_server()
    waiting.until(lambda: copied.until_stopped("raw").unsent, "it is told")
    copied.start_server()
    (problem,) = copied.api.restore()
    assert "theirs" in problem
    assert (shown / "theirs").read_bytes() == b"2"
    copied.api.unmount("raw", discard=True)
    assert copied.get("raw/theirs") == b"3"
    assert copied.on_machine() == []
    assert list(copied.view.iterdir()) == []


def test_what_a_server_puts_in_the_place_of_a_copy_is_not_sent(
    copied: Place, tmp_path: Path
) -> None:
    copied.put(raw__a=b"1", raw__deep__b=b"1")
    made = copied.api.mount("s3:ours/raw", read_only=False)
    at = copied.seen / made.place
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "b").write_bytes(b"of the hub")
    # A folder inside, by a link: it is no folder of the copy any more.
    (at / "deep").rename(at / "other")
    (at / "deep").symlink_to(secret)
    copied.api.send("raw")
    assert copied.objects() == {"raw/a", "raw/other/b"}
    # The whole, by a link or by another folder: nothing is sent, and nothing deleted for it.
    away = at.with_name("away")
    at.rename(away)
    for other in ("link", "folder"):
        if other == "link":
            at.symlink_to(secret)
        else:
            at.unlink()
            at.mkdir()
        for attempt in (copied.api.send, copied.api.unmount):
            with pytest.raises(NotWrittenBack, match="folder"):
                attempt("raw")
    assert copied.objects() == {"raw/a", "raw/other/b"}
    at.rmdir()
    away.rename(at)
    (at / "c").write_bytes(b"3")
    copied.api.unmount("raw")
    assert copied.get("raw/c") == b"3"


def test_what_is_refused_is_said(copied: Place) -> None:
    copied.put(raw__a=b"1", deep__a=b"2")
    with pytest.raises(NablaError, match="no storage provider 'ours'"):
        MountsAPI(copied.service.transport("bob")).mount("s3:ours/raw", server="x")
    with pytest.raises(NablaError, match="cannot be a folder"):
        copied.api.mount("s3:ours/../x")
    assert list(copied.api.list()) == []
    # Servers on a cluster have no buckets.
    body = {"bucket": "ours/raw", "cache": "claim"}
    with pytest.raises(NablaError, match="on a cluster cannot mount buckets") as refused:
        copied.service.transport().post("/mounts", body)
    assert "nablahub datasets put" in refused.value.hint
    # A name keeps its bucket until it is unmounted.
    (version,) = _dataset(copied)
    copied.api.mount("s3:ours/raw", "data")
    for ref, more in ((version, {}), ("s3:ours/deep", {}), ("s3:ours/raw", {"read_only": False})):
        with pytest.raises(NablaError, match="/datasets/data shows s3:ours/raw") as refused:
            copied.api.mount(ref, "data", replace=True, **more)  # type: ignore[arg-type]
        assert refused.value.code == "bucket_name_taken"
    assert (copied.view / "data" / "a").read_bytes() == b"1"
    copied.api.mount(version, "set")
    with pytest.raises(NablaError, match=f"/datasets/set shows {version}"):
        copied.api.mount("s3:ours/raw", "set")
    with pytest.raises(NablaError, match="read-only"):
        copied.api.send("data")
    # What could not be mounted is told, and unmounted like everything else.
    context = copied.service.service.context
    vault = context.get(StorageService).vault

    def spoil(session: Session) -> None:
        session.query(StorageProviderRow).one().secret = vault.encrypt("wrong")

    context.database.write_sync(spoil)
    with pytest.raises(NablaError, match="secret key"):
        copied.api.mount("s3:ours/deep")
    assert copied.mounted("deep").state == "Failed"
    for name in ("deep", "data", "set"):
        copied.api.unmount(name)
    assert list(copied.view.iterdir()) == []
    assert copied.on_machine() == []


def test_a_server_that_does_not_run_has_it_when_it_does(
    copied: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied.put(raw__a=b"1")
    copied.kill_server()
    monkeypatch.setenv(SERVER_VARIABLE, "another")
    made = copied.api.mount("s3:ours/raw", server="")
    assert made.state == "Stopped"
    monkeypatch.setenv(SERVER_VARIABLE, "")
    copied.start_server()
    assert copied.api.restore() == []
    assert (copied.view / "raw" / "a").read_bytes() == b"1"


def test_a_kill_while_it_was_unmounted_is_made_good(copied: Place) -> None:
    copied.put(raw__a=b"1")
    made = copied.api.mount("s3:ours/raw", read_only=False)
    (copied.view / "raw" / "b").write_bytes(b"2")

    def ask(session: Session) -> None:
        session.get_one(MountRow, made.id).todo = "unmount"

    copied.service.service.context.database.write_sync(ask)
    copied.service.stop()
    # As after a kill between its rename out of sight and the last look at it.
    own = copied.root / "server-mounts" / made.id / "files"
    (copied.seen / made.place).rename(own / "data")
    copied.begin()
    waiting.until(lambda: not list(copied.api.list()), "the unmount goes on")
    assert copied.get("raw/b") == b"2"
    assert copied.on_machine() == []
