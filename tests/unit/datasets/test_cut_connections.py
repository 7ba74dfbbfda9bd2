"""A line that is cut again and again: transfers go on where they were, and no byte is wrong."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from nablahub.core.extension import load
from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from tests.support.service import RunningService, running
from tests.unit.datasets.builders import read, write

EXTENSIONS = [
    load(f"nablahub.{name}.extension:extension")
    for name in ("teams", "projects", "storage", "datasets")
]
BIG = bytes(range(256)) * 20_000
FILES = {"big.bin": BIG} | {f"small/{i:03}": b"%d" % i * 100 for i in range(50)}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with running(tmp_path_factory.mktemp("state"), EXTENSIONS) as found:
        yield found


class Scissors:
    """Forwards connections to a port, and cuts the next few after so many bytes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cuts = 0
        self.after = 0
        self.carried = 0
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            for pair in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=pair, daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        carried = 0
        with suppress(OSError):
            while data := source.recv(65536):
                carried += len(data)
                if self.cuts and carried > self.after:
                    self.cuts -= 1
                    break
                target.sendall(data)
                self.carried += len(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()


@pytest.fixture
def scissors(service: RunningService) -> Iterator[Scissors]:
    made = Scissors(service.port)
    yield made
    made.close()


@pytest.fixture
def api(scissors: Scissors) -> Iterator[DatasetsAPI]:
    url = f"http://127.0.0.1:{scissors.port}/services/nablahub"
    with Transport(url, "token-of-alice") as transport:
        yield DatasetsAPI(transport)


def test_an_upload_goes_on_and_sends_nothing_twice(
    api: DatasetsAPI, scissors: Scissors, tmp_path: Path
) -> None:
    dataset = api.create("up").id
    before = scissors.carried
    scissors.after, scissors.cuts = 1_500_000, 3
    made = api.upload(dataset, write(tmp_path / "tree", FILES))
    assert scissors.cuts == 0
    # What was under way when the line was cut is lost; all that arrived counts.
    assert scissors.carried - before < len(BIG) + 3 * 1_100_000
    assert made.number == 1
    assert len(list(api.versions(dataset))) == 1
    assert api.read(dataset, "big.bin") == BIG
    api.download(dataset, tmp_path / "back")
    assert read(tmp_path / "back") == FILES


def test_a_download_goes_on_and_gets_nothing_twice(
    api: DatasetsAPI, scissors: Scissors, tmp_path: Path
) -> None:
    dataset = api.create("down").id
    api.upload(dataset, write(tmp_path / "tree", FILES))
    before = scissors.carried
    scissors.after, scissors.cuts = 1_500_000, 3
    api.download(dataset, tmp_path / "back")
    assert scissors.cuts == 0
    assert scissors.carried - before < len(BIG) + 500_000
    assert read(tmp_path / "back") == FILES
