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


@contextmanager
def apart(root: Path, **settings: object) -> Iterator[tuple[DatasetsAPI, int]]:
    """Run the service in a process of its own; yields a client and the process's id."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE, str(root), json.dumps(settings, default=str)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = process.stdout.readline().strip()
        with Transport(url, "token-of-alice") as transport:
            yield DatasetsAPI(transport), process.pid
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
    with apart(tmp_path / "state", object_store=own) as (api, pid):
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
