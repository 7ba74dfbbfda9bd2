"""What folders take: measured as the disk sees it, with what is large in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from nablahub.core import usage
from nablahub.core.extension import load
from nablahub.core.usage import FolderUsage
from nablahub.storage.api import StorageAPI
from nablahub.storage.cli import storage as command
from nablahub.storage.usage.measuring import measure
from tests.support.service import RunningService, running

EXTENSIONS = [load(f"nablahub.{name}.extension:extension") for name in ("teams", "storage")]
KIB = 1024


def never(_worked: float) -> bool:
    return False


def fill(path: Path, kib: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * kib * KIB)


def test_a_folder_is_measured_as_the_disk_has_it(tmp_path: Path) -> None:
    root = tmp_path / "storage"
    fill(root / "runs" / "one" / "model.pt", 900)
    fill(root / "runs" / "two" / "model.pt", 300)
    fill(root / "notes.txt", 4)
    (root / "again").hardlink_to(root / "notes.txt")
    (root / "away").symlink_to(tmp_path)
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    found = measure(root, 2 << 20, never)
    assert found is not None
    assert found.files == 5
    assert 1204 * KIB <= found.bytes < 1300 * KIB
    assert found.level == "ok"
    names = [path for path, _ in found.largest]
    # The folder that is large by one file alone is told by that file.
    assert names[:3] == ["runs/", "runs/one/model.pt", "runs/two/model.pt"]
    assert "runs/one/" not in names
    gone = measure(tmp_path / "gone", 0, never)
    assert gone is not None
    assert (gone.bytes, gone.files, gone.largest) == (0, 0, [])
    for number in range(600):
        (root / str(number)).touch()
    assert measure(root, 0, lambda _worked: True) is None


def test_levels_and_words() -> None:
    known = [("a/", 900 * KIB)]
    assert FolderUsage(bytes=799, quota=1000).level == "ok"
    assert FolderUsage(bytes=800, quota=1000).sentence("/storage") == (
        "/storage is nearly full: 800 bytes of 1000 bytes are used."
    )
    assert FolderUsage(bytes=2 << 20, quota=1 << 20, largest=known).sentence("Your home") == (
        "Your home is over its quota: 2.0 MiB of 1.0 MiB are used. "
        "Largest in Your home: a/ 900.0 KiB."
    )
    assert FolderUsage(bytes=1 << 40).sentence("/storage") == ""


def test_what_was_measured_is_kept_and_a_torn_file_is_none(tmp_path: Path) -> None:
    file = tmp_path / "usage.json"
    found = {"storage/te1": FolderUsage(1, 2, 3, 4.0, [("a/", 1)])}
    usage.save(file, found)
    assert usage.load(file) == found
    file.write_text(file.read_text()[:20])
    assert usage.load(file) == {}
    assert usage.load(tmp_path / "gone") == {}
    assert [p.name for p in tmp_path.iterdir()] == ["usage.json"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    root = tmp_path_factory.mktemp("state")
    with running(root, EXTENSIONS, storage_quota_bytes=100 * KIB) as found:
        yield found


def test_everybody_sees_their_own(service: RunningService) -> None:
    hub = service.transport("alice")
    api = StorageAPI(hub)
    first = {u.kind: u for u in api.usage()}
    team = first["storage"].team_id
    assert team is not None
    fill(service.state.storage / team / "big", 200)
    fill(service.state.homes / "alice" / "x", 8)
    service.service.context.services[-1].scanner.measure_again()
    found = {u.kind: u for u in api.usage()}
    assert (found["storage"].level, found["storage"].quota_bytes) == ("over", 100 * KIB)
    assert [(x.path, x.bytes) for x in found["storage"].largest] == [("big", 200 * KIB)]
    assert (found["home"].bytes, found["home"].quota_bytes) == (8 * KIB, None)
    assert {u.bytes for u in StorageAPI(service.transport("bob")).usage()} == {0}
    env = {"NABLAHUB_URL": service.url, "NABLAHUB_TOKEN": "token-of-alice"}
    said = CliRunner().invoke(command, ["usage"], env=env).output
    assert "200.0 KiB" in said
    assert "over" in said
    assert "Largest in /storage of alice:" in said
