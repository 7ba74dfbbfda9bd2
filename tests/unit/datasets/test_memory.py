"""What passes by the service leaves its memory as it was."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from tests.support.s3 import SeaweedFS
from tests.support.stores import own_store

MIB = 1024 * 1024
SERVICE = """
import json, sys
from pathlib import Path
from tests.support.service import running
from tests.unit.datasets.hub import EXTENSIONS
settings = json.loads(sys.argv[2])
with running(Path(sys.argv[1]), EXTENSIONS, **settings) as service:
    print(service.url, flush=True)
    sys.stdin.read()
"""
CLIENT = """
import os, sys
from pathlib import Path
from nablahub.core.transport import Transport
from nablahub.datasets.api import DatasetsAPI
from tests.unit.datasets.test_memory import peak
url, method, folder = sys.argv[1:]
with Transport(url, "token-of-alice") as transport:
    api = DatasetsAPI(transport)
    getattr(api, method)("small", Path(folder, method, "small"))
    before = peak(os.getpid())
    getattr(api, method)("large", Path(folder, method, "large"))
    print(peak(os.getpid()) - before)
"""


@contextmanager
def apart(root: Path, **settings: object) -> Iterator[tuple[DatasetsAPI, int, str]]:
    """Run the service in a process of its own; yields a client, the process's id and address."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(root), json.dumps(settings, default=str)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        with Transport(url, "token-of-alice") as transport:
            yield DatasetsAPI(transport), process.pid, url
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(60)


def peak(pid: int) -> int:
    """Return the most bytes of memory that a process has had (proc(5): VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def fill(file: Path, size: int) -> None:
    """Write a file in which no two mebibytes are the same."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as opened:
        for number in range(size // MIB):
            opened.write(number.to_bytes(8, "little") * (MIB // 8))


@pytest.mark.parametrize(
    "direct",
    [
        pytest.param(True, id="direct"),
        pytest.param(False, id="through the hub", marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(
    "size", [256 * MIB, pytest.param(1024 * MIB, marks=pytest.mark.slow)], ids=["256M", "1G"]
)
def test_memory_stays_flat(s3: SeaweedFS, tmp_path: Path, size: int, direct: bool) -> None:
    own = own_store(s3, tmp_path / "keys", direct=direct)
    with apart(tmp_path / "state", object_store=own) as (api, pid, _):
        fill(tmp_path / "small/x", 24 * MIB)
        api.create("small")
        api.upload("small", tmp_path / "small")  # What is loaded once is loaded now.
        api.download("small", tmp_path / "small back")
        before = peak(pid)
        fill(tmp_path / "tree/x", size)
        api.create("large")
        api.upload("large", tmp_path / "tree")
        api.download("large", tmp_path / "back")
        api.verify("large")
        assert peak(pid) - before < 96 * MIB
        (tmp_path / "tree/x").unlink()
        (tmp_path / "back/x").unlink()
        api.delete("large")


def test_a_clients_memory_stays_flat(s3: SeaweedFS, tmp_path: Path) -> None:
    own = own_store(s3, tmp_path / "keys", direct=True)
    fill(tmp_path / "upload/small/x", 8 * MIB)
    for number in range(1, 5):  # 400 MiB of four different files
        fill(tmp_path / f"upload/large/{number}", (98 + number) * MIB)
    with apart(tmp_path / "state", object_store=own) as (api, _, url):
        for name in ("small", "large"):
            api.create(name)
        for method in ("upload", "download"):
            command = [sys.executable, "-c", CLIENT, url, method, str(tmp_path)]
            more = int(subprocess.run(command, check=True, capture_output=True).stdout)
            assert more < 160 * MIB, (method, more // MIB)
