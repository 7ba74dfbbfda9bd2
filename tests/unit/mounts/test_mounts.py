"""What a server shows is pinned, read-only, its own team's, and there again after a restart."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy.orm import Session

from nablahub.cli import main
from nablahub.core.errors import Conflict, Forbidden, NablaError, NotFound, QuotaExceeded
from nablahub.core.extension import discover
from nablahub.core.times import now
from nablahub.datasets.errors import InUse
from nablahub.datasets.service import DatasetService
from nablahub.mounts import service as mounts_service
from nablahub.mounts.api import CacheAPI, MountsAPI
from nablahub.mounts.store import REMEMBERED, MountRow
from nablahub.mounts.view import CACHE_VARIABLE, SERVER_VARIABLE, VARIABLE
from tests.support import waiting
from tests.support.service import RunningService, running
from tests.unit.datasets.hub import api_of

BELOW = ("teams", "projects", "storage", "datasets", "models", "jobs", "mounts")
EXTENSIONS = [extension for extension in discover() if extension.name in BELOW]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state"), EXTENSIONS) as found:
        found.fake.add("root", admin=True)
        yield found


@pytest.fixture
def view(service: RunningService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of links of a server in which the test runs."""
    folder = tmp_path / "datasets"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    monkeypatch.setenv(CACHE_VARIABLE, str(service.state.cache))
    monkeypatch.setenv(SERVER_VARIABLE, tmp_path.name)
    return folder


def mounts_of(service: RunningService, name: str = "alice") -> MountsAPI:
    return MountsAPI(service.transport(name))


def dataset(service: RunningService, name: str, *texts: bytes, user: str = "alice") -> list[str]:
    """Make a dataset with a version for each text; return their ids."""
    api = api_of(service, user)
    api.create(name)
    return [api.write(name, "a.txt", text).id for text in texts]


def cache(service: RunningService) -> CacheAPI:
    return CacheAPI(service.transport("root"))


def test_the_latest_and_another_version_side_by_side(service: RunningService, view: Path) -> None:
    old, new = dataset(service, "side", b"old", b"new")
    api = mounts_of(service)
    made = api.mount("side")
    assert (made.path, made.version, made.state) == ("/datasets/side", new, "Ready")
    assert (view / "side" / "a.txt").read_bytes() == b"new"
    assert (view / "side" / "a.txt").stat().st_mode & 0o222 == 0
    tag = old.partition(":")[2]
    assert api.mount(f"side:{tag}").name == f"side@{tag}"
    assert (view / f"side@{tag}" / "a.txt").read_bytes() == b"old"
    # A name of one's own stands for another version from now on, in one step.
    api.mount(old, "mine")
    file = (view / "mine" / "a.txt").open("rb")
    api.mount(new, "mine")
    assert (view / "mine" / "a.txt").read_bytes() == b"new"
    with file:  # What was open is read on.
        assert file.read() == b"old"
    assert {m.name for m in api.list()} == {"side", f"side@{tag}", "mine"}
    assert api.unmount("/datasets/mine").name == "mine"
    assert not (view / "mine").exists()
    with pytest.raises(NotFound, match="mine"):
        api.unmount("mine")


def test_a_name_of_another_dataset_is_not_taken_by_accident(
    service: RunningService, view: Path
) -> None:
    dataset(service, "first", b"1")
    dataset(service, "second", b"2")
    api = mounts_of(service)
    api.mount("first", "data")
    with pytest.raises(Conflict, match="another dataset") as refused:
        api.mount("second", "data")
    assert refused.value.code == "mount_taken"
    assert (view / "data" / "a.txt").read_bytes() == b"1"
    api.mount("second", "data", replace=True)
    assert (view / "data" / "a.txt").read_bytes() == b"2"


@pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", "", "a\0b", "x" * 201])
def test_a_name_that_is_no_folders_is_refused(
    service: RunningService, view: Path, name: str
) -> None:
    body = {"dataset": "nothing", "name": name}
    with pytest.raises(NablaError) as refused:
        service.transport("alice").post("/mounts", body)
    assert refused.value.code == "invalid"
    assert list(view.iterdir()) == []


def test_of_other_teams_nothing_is_mounted_or_seen(service: RunningService, view: Path) -> None:
    (theirs,) = dataset(service, "secret", b"s", user="bob")
    with pytest.raises(NotFound):
        mounts_of(service).mount(theirs)
    with pytest.raises(NotFound):
        mounts_of(service).mount("nothing")
    made = mounts_of(service, "bob").mount("secret")
    assert not [m for m in mounts_of(service).list() if m.version == theirs]
    for method in ("GET", "DELETE"):
        with pytest.raises(NotFound):
            service.transport("alice").request(method, f"/mounts/{made.id}")
    assert not view.joinpath("elsewhere").exists()


def publish(service: RunningService, version: str, public: bool = True) -> None:
    """Let everybody read bob's dataset, or nobody else."""
    api = api_of(service, "bob")
    found = api.get(version.partition(":")[0])
    api._hub.patch(f"/datasets/{found.id}", {"public": public}, revision=found.revision)


def test_another_teams_public_dataset_is_mounted(service: RunningService, view: Path) -> None:
    old, new = dataset(service, "open", b"old", b"new", user="bob")
    api = mounts_of(service)
    for ref in ("bob/open", new):
        with pytest.raises(NotFound):
            api.mount(ref)
    publish(service, new)
    made = api.mount("bob/open")
    assert (made.path, made.version, made.place.partition("/")[0]) == (
        "/datasets/open", new, "public"
    )  # fmt: skip
    assert (view / "open" / "a.txt").read_bytes() == b"new"
    assert api.mount(f"bob/open:{old.partition(':')[2]}", "before").version == old
    assert (view / "before" / "a.txt").read_bytes() == b"old"
    # Its tree stays while it is mounted, and whoever owns it is not held up by strangers.
    cache(service).prune(to=0)
    assert (view / "open" / "a.txt").read_bytes() == b"new"
    api_of(service, "bob").delete_version(old)
    api_of(service, "bob").restore(old)
    # What bob himself mounts is where only his team sees it.
    assert mounts_of(service, "bob").mount("open").place.partition("/")[0] != "public"
    mounts_of(service, "bob").unmount("open")


def test_what_is_private_again_is_seen_no_more(service: RunningService, view: Path) -> None:
    (version,) = dataset(service, "shut", b"1", user="bob")
    publish(service, version)
    api = mounts_of(service)
    made = api.mount("bob/shut")
    tree = service.state.cache / made.place
    assert tree.is_dir()
    publish(service, version, False)
    waiting.until(lambda: not tree.exists(), "the tree went")
    with pytest.raises(NotFound):
        api.mount("bob/shut")
    (left,) = api.list()
    assert (left.state, left.message) == ("Failed", "The dataset is not public any more.")
    assert "/datasets/shut" in api.restore()[0]
    assert list(view.iterdir()) == []
    pod = service.fake.add("pod", scopes=["custom:nablahub:deliver"])
    asked = service.transport(pod.removeprefix("token-of-")).post(
        "/cache/users", {"places": [made.place, "te1/ds1-nothing"]}
    )
    assert (asked["items"], asked["withdrawn"]) == ([], [made.place])
    publish(service, version)
    api.mount("bob/shut")
    assert (view / "shut" / "a.txt").read_bytes() == b"1"
    # A deleted one is as gone.
    api_of(service, "bob").delete("shut")
    waiting.until(lambda: not tree.exists(), "the tree went")
    assert "/datasets/shut" in api.restore()[0]


def test_a_tree_that_is_made_while_it_becomes_private_does_not_stay(
    service: RunningService, monkeypatch: pytest.MonkeyPatch
) -> None:
    (version,) = dataset(service, "racing", b"1", user="bob")
    publish(service, version)
    datasets = service.service.context.get(DatasetService)
    make = datasets.building.keeping.tree

    def slowly(*args: object) -> Path:
        tree = make(*args)  # type: ignore[arg-type]  # handed on
        publish(service, version, False)
        return tree

    monkeypatch.setattr(datasets.building.keeping, "tree", slowly)
    with pytest.raises(NotFound):
        datasets.public.materialise(version)
    assert not list((service.state.cache / "public").glob(f"{version.partition(':')[0]}-*"))


def test_what_is_mounted_stays_in_the_cache_until_it_is_not(
    service: RunningService, view: Path
) -> None:
    (version,) = dataset(service, "pinned", b"1")
    api = mounts_of(service)
    made = api.mount("pinned")
    listed = {tree.place: tree for tree in cache(service).list().items}
    assert listed[made.place].users == [f"alice's server '{made.server}' (/datasets/pinned)"]
    cache(service).prune(to=0)
    assert (view / "pinned" / "a.txt").read_bytes() == b"1"
    with pytest.raises(InUse, match="alice's server"):
        api_of(service).delete_version(version)
    with pytest.raises(InUse, match="alice's server"):
        api_of(service).delete("pinned")
    api.unmount("pinned")
    would = cache(service).prune(to=0, dry_run=True)
    assert made.place in [tree.place for tree in would.items]
    assert made.place in [tree.place for tree in cache(service).list().items]
    assert made.place in [tree.place for tree in cache(service).prune(to=0).items]
    assert not (service.state.cache / made.place).exists()
    api_of(service).delete("pinned")


def test_after_a_restart_it_is_there_again(
    service: RunningService, view: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset(service, "kept", b"1")
    dataset(service, "gone", b"2")
    api = mounts_of(service)
    made = api.mount("kept")
    api.mount("gone")
    # The pod's links are gone with it, and of a folder's some may be left that are not wanted.
    (view / "kept").unlink()
    (view / "old").symlink_to(service.state.cache / "te/nothing")
    tree = service.state.cache / made.place
    service.service.context.get(DatasetService).building.keeping.discard(tree)
    assert api.restore() == []
    assert (view / "kept" / "a.txt").read_bytes() == b"1"
    assert sorted(path.name for path in view.iterdir()) == ["gone", "kept"]
    # What can't be shown any more is said, and not half there.
    monkeypatch.setattr(api, "_ready", _refuse)
    problems = api.restore()
    assert len(problems) == 2
    assert "/datasets/kept" in " ".join(problems)
    assert list(view.iterdir()) == []


def _refuse(*_: object) -> None:
    raise NotFound("It was not found.")


def test_what_a_forgotten_server_showed_can_be_deleted(service: RunningService, view: Path) -> None:
    (version,) = dataset(service, "forgotten", b"1")
    api = mounts_of(service)
    made = api.mount("forgotten")
    long_ago = now() - REMEMBERED

    def forget(session: Session) -> None:
        session.get_one(MountRow, made.id).used_at = long_ago

    service.service.context.database.write_sync(forget)
    assert made.place in [tree.place for tree in cache(service).prune(to=0).items]
    api_of(service).delete("forgotten")
    (left,) = api.list()
    assert (left.version, left.state) == (version, "Failed")
    assert "deleted" in left.message
    assert "/datasets/forgotten" in api.restore()[0]
    assert list(view.iterdir()) == []
    api.unmount("forgotten")


def test_a_service_that_was_killed_goes_on_with_it(tmp_path: Path) -> None:
    with running(tmp_path / "state", EXTENSIONS) as service:
        dataset(service, "cut", b"1")
        made = mounts_of(service).mount("cut")
        keeping = service.service.context.get(DatasetService).building.keeping
        keeping.discard(service.state.cache / made.place)

        def cut_off(session: Session) -> None:
            session.get_one(MountRow, made.id).state = "Pending"

        service.service.context.database.write_sync(cut_off)
    with running(tmp_path / "state", EXTENSIONS) as service:
        assert mounts_of(service)._ready(made.model_copy(update={"state": "Pending"})).id
        assert (service.state.cache / made.place / "a.txt").read_bytes() == b"1"


def test_a_pod_is_told_what_is_read(service: RunningService, view: Path) -> None:
    dataset(service, "asked", b"1")
    made = mounts_of(service).mount("asked")
    pod = service.fake.add("pod", scopes=["custom:nablahub:deliver"])
    asked = {"places": [made.place, "te1/ds1-nothing"]}
    assert service.transport(pod.removeprefix("token-of-")).post("/cache/users", asked) == {
        "items": [made.place], "next": None, "withdrawn": []
    }  # fmt: skip
    with pytest.raises(Forbidden):
        service.transport("alice").post("/cache/users", asked)


def test_a_server_shows_only_so_many(
    service: RunningService, view: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset(service, "many", b"1")
    monkeypatch.setattr(mounts_service, "MOST", 2)
    for name in ("a", "b"):
        mounts_of(service).mount("many", name)
    with pytest.raises(QuotaExceeded, match="2 versions"):
        mounts_of(service).mount("many", "c")
    assert len(list(view.iterdir())) == 2


def test_from_outside_a_server_it_is_shown_at_its_next_look(service: RunningService) -> None:
    dataset(service, "outside", b"1")
    made = mounts_of(service).mount("outside", server="elsewhere")
    assert (made.server, made.state) == ("elsewhere", "Ready")
    assert [m.id for m in mounts_of(service).list(server="elsewhere")] == [made.id]


def test_the_cache_is_for_administrators(service: RunningService) -> None:
    api = CacheAPI(service.transport("alice"))
    for ask in (api.list, api.prune, lambda: list(api.verify())):
        with pytest.raises(Forbidden):
            ask()


def test_the_commands(service: RunningService, view: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset(service, "words", b"1")
    monkeypatch.setenv("NABLAHUB_URL", service.transport("alice").url)
    monkeypatch.setenv("NABLAHUB_TOKEN", "token-of-alice")

    def run(*words: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, list(words))
        assert done.exit_code == code, done.output
        return done.output

    assert "/datasets/words." in run("datasets", "mount", "words")
    (listed,) = json.loads(run("datasets", "mounts", "--json"))
    assert listed["path"] == "/datasets/words"
    assert "/datasets/words" in run("datasets", "mounts")
    monkeypatch.setenv("NABLAHUB_TOKEN", "token-of-root")
    assert listed["place"][:20] in run("cache", "list")
    assert json.loads(run("cache", "prune", "--to", "1Ki", "--dry-run", "--json"))["dry_run"]
    run("cache", "prune", "--to", "much", code=2)
    file = service.state.cache / listed["place"] / "a.txt"
    file.chmod(0o644)
    file.write_bytes(b"2")
    assert "1 damaged (a.txt). It is read by alice" in run("cache", "verify", "--repair", code=1)
    monkeypatch.setenv("NABLAHUB_TOKEN", "token-of-alice")
    assert "is unmounted" in run("datasets", "unmount", "words")
    monkeypatch.setenv("NABLAHUB_TOKEN", "token-of-root")
    assert "--repair" in run("cache", "verify", code=1)
    assert "made again" in run("cache", "verify", "--repair")
    assert file.read_bytes() == b"1"
