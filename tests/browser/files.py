"""Files of the kinds that the panel can show, and a dataset of very many."""

from __future__ import annotations

import hashlib
import math
import struct
import wave
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from nablahub.client import Hub
from nablahub.datasets.packs import build_head, pack_name

PICTURE = (60, 40)
SECONDS = 2
EVIL = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="30" height="20">'
    "<script>parent.hit = 1</script></svg>"
)
PAGE = "<script>window.hit = 1; parent.hit = 1</script><h1>never laid out</h1>"


def write_kinds(folder: Path) -> None:
    """Write a file of each kind."""
    (folder / "media").mkdir(parents=True)
    (folder / "tables").mkdir()
    (folder / "media/gradient.png").write_bytes(png(*PICTURE))
    (folder / "media/drawing.svg").write_text(EVIL)
    with wave.open(str(folder / "media/tone.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        tone = (int(9000 * math.sin(n / 3)) for n in range(8000 * SECONDS))
        sound.writeframes(b"".join(struct.pack("<h", value) for value in tone))
    rows = [f"{n},name {n},{n / 4}" for n in range(300)]
    (folder / "tables/rows.csv").write_text("\n".join(["id,name,share", *rows]) + "\n")
    table = pa.table({"id": list(range(5000)), "word": [f"word {n}" for n in range(5000)]})
    pq.write_table(table, folder / "tables/rows.parquet", compression="zstd")
    (folder / "page.html").write_text(PAGE)
    (folder / "notes.md").write_text("# Notes\n\nof the first version\n")
    (folder / "empty.txt").touch()


def png(width: int, height: int) -> bytes:
    """Return a picture whose colours run from one corner to the other."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    lines = b"".join(
        b"\0" + bytes(v for x in range(width) for v in (4 * x, 6 * y, 128)) for y in range(height)
    )
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )  # fmt: skip


def commit_many(client: Hub, dataset: str, count: int) -> None:
    """Commit a version of many files in one folder, all with the same byte."""
    data = b"x"
    md5, sha256 = hashlib.md5(data), hashlib.sha256(data)
    head = build_head([(md5.digest(), sha256.digest(), len(data))])
    made = client.transport.post(f"/datasets/{dataset}/uploads", {"message": "very many"})
    path = f"/datasets/{dataset}/uploads/{made['version']}"
    binary = {"Content-Type": "application/octet-stream"}
    client.transport.request(
        "PUT", f"{path}/packs/{pack_name(head)}", content=head + data, headers=binary
    )
    line = f"{md5.hexdigest()} {sha256.hexdigest()} f 1 images/"
    text = "".join(f"{line}{number:06}.txt\n" for number in range(count)).encode()
    plain = {"Content-Type": "text/plain; charset=utf-8"}
    client.transport.request("POST", f"{path}/commit", content=text, headers=plain)


def nearly_full(user: str) -> dict[str, Any]:
    """Return what the hub tells of the room of a user whose disks are full or nearly so.

    Nobody fills real disks with that much for a picture.
    """
    return {
        "items": [
            {
                "kind": "storage", "name": user, "team_id": "te1", "bytes": 45 << 30, "files": 9,
                "quota_bytes": 50 << 30, "level": "warning", "measured_at": "2026-01-01T00:00:00Z",
                "largest": [{"path": "runs/", "bytes": 40 << 30}],
            },
            {
                "kind": "storage", "name": "vision", "team_id": "te2", "bytes": 51 << 30,
                "files": 9, "quota_bytes": 50 << 30, "level": "over",
                "measured_at": "2026-01-01T00:00:00Z",
                "largest": [{"path": "a/b.pt", "bytes": 1 << 30}],
            },
            {
                "kind": "home", "name": user, "team_id": None, "bytes": 3 << 30, "files": 9,
                "quota_bytes": None, "level": "ok", "measured_at": "2026-01-01T00:00:00Z",
                "largest": [],
            },
        ],
        "next": None,
    }  # fmt: skip
