"""The state on a disk that is really full: a tmpfs of 24 MiB, made by bubblewrap without root."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from nablahub.client import Hub
from nablahub.core.errors import NablaError, StorageFull
from nablahub.core.sandbox import find_bwrap, probe
from nablahub.core.settings import Settings
from nablahub.core.transport import Transport
from tests.support.service import FakeHubServer
from tests.support.waiting import until

SIZE = 24 * 1024**2
pytestmark = pytest.mark.skipif(probe() is not None, reason="bubblewrap cannot run here")


@dataclass
class SmallDisk:
    """A service whose whole state lies on a small disk."""

    hub: Hub
    root: Path
    process: subprocess.Popen[bytes]

    def names(self) -> set[str]:
        """Return all files of the state directory but logs of the database."""
        return {
            str(path.relative_to(self.root))
            for path in self.root.rglob("*")
            if path.is_file() and not path.name.endswith(("-wal", "-shm"))
        }

    def fill(self) -> Path:
        """Fill the disk to the last byte and return the file that does it."""
        filler = self.root / "filler"
        with filler.open("wb", buffering=0) as file:
            for size in (1 << 20, 1 << 12, 1):
                try:
                    while file.write(b"x" * size):
                        pass
                except OSError:
                    continue
        return filler


def in_namespace(bwrap: int, root: Path) -> Path:
    """Return the state directory as seen from outside: below the root of the process inside."""
    child = Path(f"/proc/{bwrap}/task/{bwrap}/children").read_text().split()[0]
    return Path(f"/proc/{child}/root") / root.relative_to("/")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallDisk]:
    root = tmp_path / "state"
    root.mkdir()
    with FakeHubServer() as hub_url:
        script = tmp_path / "start.py"
        settings = Settings(
            state_dir=root, public_url="http://127.0.0.1:9", hub_api_url=hub_url,
            service_port=0, min_free_bytes=0,
        )  # fmt: skip
        script.write_text(
            "import sys, pathlib, socket\n"
            "from nablahub.core.settings import Settings\n"
            "from nablahub.core.state import StateDir\n"
            "s = socket.create_server(('127.0.0.1', 0)); port = s.getsockname()[1]; s.close()\n"
            "settings = Settings.model_validate_json(sys.argv[1])\n"
            "state = StateDir(settings.state_dir).make()\n"
            "text = settings.model_copy(update={'service_port': port}).model_dump_json()\n"
            "state.settings.write_text(text)\n"
            "pathlib.Path(sys.argv[2]).write_text(str(port))\n"
            "from nablahub.service.__main__ import main\n"
            "main(['--state-dir', str(settings.state_dir)])\n"
        )
        told = tmp_path / "port"
        process = subprocess.Popen(
            [str(find_bwrap()), "--dev-bind", "/", "/", "--size", str(SIZE), "--tmpfs", str(root),
             "--die-with-parent", "--", sys.executable, str(script), settings.model_dump_json(),
             str(told)],
            env={**os.environ, "TMPDIR": str(root)},
        )  # fmt: skip
        url = wait_until_up(told, process)
        transport = Transport(f"{url}/services/nablahub", "token-of-alice", tries=1)
        yield SmallDisk(Hub(transport), in_namespace(process.pid, root), process)
        transport.close()
        process.terminate()
        process.wait(30)


def wait_until_up(told: Path, process: subprocess.Popen[bytes]) -> str:
    """Return the service's address once it answers."""
    while process.poll() is None:
        if told.exists() and told.read_text():
            url = f"http://127.0.0.1:{told.read_text()}"
            try:
                httpx.get(f"{url}/services/nablahub/health").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return url
        time.sleep(0.02)
    raise AssertionError(f"the service ended with {process.returncode}")


def test_a_dataset_that_does_not_fit_is_507_and_leaves_nothing(
    small: SmallDisk, tmp_path: Path
) -> None:
    hub = small.hub
    dataset = hub.datasets.create("big")
    source = tmp_path / "source"
    source.mkdir()
    for n in range(4):
        (source / f"{n}.bin").write_bytes(os.urandom(16 * 1024**2))
    with pytest.raises(StorageFull) as caught:
        hub.datasets.upload(dataset.id, source)
    assert caught.value.hint
    assert list(hub.datasets.versions(dataset.id)) == []
    until(
        lambda: not [name for name in small.names() if name.startswith("objects/")],
        "nothing of it is left",
    )
    small_file = tmp_path / "small"
    small_file.mkdir()
    (small_file / "a.txt").write_text("fits")
    version = hub.datasets.upload(dataset.id, small_file)
    assert hub.datasets.read(version.id, "a.txt") == b"fits"


def test_a_full_disk_refuses_rows_in_words_and_works_again_when_there_is_room(
    small: SmallDisk,
) -> None:
    hub = small.hub
    kept = hub.projects.create("before")
    filler = small.fill()
    answers = [outcome(hub, f"while-full-{n}") for n in range(200)]
    assert set(answers) <= {"made", "storage_full"}
    assert "storage_full" in answers
    assert hub.projects.get(kept.id) == kept
    filler.unlink()
    made = hub.projects.create("after")
    assert hub.projects.get("after") == made
    assert small.process.poll() is None


def outcome(hub: Hub, name: str) -> str:
    """Return ``made``, or the code of the error that making a project gives."""
    try:
        hub.projects.create(name, description="x" * 5000)
    except NablaError as error:
        return error.code
    return "made"
