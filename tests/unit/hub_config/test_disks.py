"""What `nablahub status` says of the room that files take."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from nablahub.core import usage
from nablahub.core.state import StateDir
from nablahub.core.usage import FolderUsage
from nablahub_hub.local.commands import status

GIB = 1 << 30


def test_status_tells_what_is_nearly_full(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "state").make()
    assert "home" not in CliRunner().invoke(status, ["--state-dir", str(state.root)]).stdout
    found = {
        "storage/te1": FolderUsage(bytes=10 * GIB, files=3, quota=50 * GIB, at=1e9),
        "storage/te2": FolderUsage(bytes=41 * GIB, files=3, quota=50 * GIB, at=1e9),
        "storage/te3": FolderUsage(bytes=50 * GIB, files=3, quota=50 * GIB, at=1e9),
        **{f"homes/u{n}": FolderUsage(bytes=n * GIB, at=1e9) for n in range(8)},
    }
    usage.save(state.usage, found)
    (state.run / "servers").mkdir()
    (state.run / "servers/alice.teams.json").write_text(
        json.dumps([{"id": "te2", "name": "alice", "private": True}])
    )
    done = CliRunner().invoke(status, ["--state-dir", str(state.root)])
    lines = [line.rstrip() for line in done.stdout.splitlines() if " of " in line]
    assert [line.partition("  ")[0] for line in lines[:4]] == [
        "/storage of te3", "/storage of alice", "/storage of te1", "home of u7",
    ]  # fmt: skip
    assert lines[0].endswith("50.0 GiB of 50.0 GiB (100 %)  ✗ over its quota")
    assert lines[1].endswith("41.0 GiB of 50.0 GiB (82 %)  ▲ nearly full")
    assert lines[2].endswith("10.0 GiB of 50.0 GiB (20 %)")
    assert lines[3].endswith("7.0 GiB")
    assert "1, all of them by --json" in done.stdout
    words = ["--json", "--state-dir", str(state.root)]
    disk = json.loads(CliRunner().invoke(status, words).stdout)["disk"]
    assert len(disk) == len(found)
    assert disk[1] == {
        "kind": "storage", "name": "alice", "bytes": 41 * GIB, "files": 3,
        "quota_bytes": 50 * GIB, "level": "warning", "measured_at": "2001-09-09T01:46:40+00:00",
    }  # fmt: skip
