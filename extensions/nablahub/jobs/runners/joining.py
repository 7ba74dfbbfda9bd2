"""The one log of a task of several nodes: whole lines, before each of them which node wrote it.

The log alone cannot tell how much of each node's has come, so that is kept beside it, after each
part. Bytes that a kill left in the log without being counted are cut off again: they come anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.reading import log_size

#: How long the log is, how many bytes of each node's have come, which lines of our own were said.
NODES = "nodes.json"


def prefix(node: int) -> str:
    """What stands before each line of a node."""
    return f"[node {node}] "


def taken(folder: Path, node: int) -> int:
    """How many bytes of a node's log have come."""
    return int(_known(folder)["came"].get(str(node), 0))


def append(folder: Path, node: int, data: bytes) -> None:
    """Add what a node wrote, and count it."""
    known = _known(folder)
    _write(folder, node, data)
    known["came"][str(node)] = known["came"].get(str(node), 0) + len(data)
    files.trim_log(folder)
    files.write(folder, NODES, {**known, "size": log_size(folder)})


def say(folder: Path, node: int, key: str, text: str) -> None:
    """Add a line of our own about a node, once for each key."""
    known = _known(folder)
    if key in known["said"] or not folder.is_dir():
        return
    _write(folder, node, text.encode())
    known["said"].append(key)
    files.write(folder, NODES, {**known, "size": log_size(folder)})


def last_line(text: str, node: int) -> str:
    """The last line of a node that says something, without what stands before it."""
    start = prefix(node)
    lines = [line.removeprefix(start).strip() for line in text.splitlines() if start in line[:20]]
    return next((line for line in reversed(lines) if line), "")


def _write(folder: Path, node: int, data: bytes) -> None:
    start = prefix(node).encode()
    # Not splitlines: a carriage return is how a progress bar begins its line anew.
    lines = data.removesuffix(b"\n").split(b"\n")
    with (folder / files.LOG).open("ab") as log:
        log.write(b"".join(start + line + b"\n" for line in lines))


def _known(folder: Path) -> dict[str, Any]:
    known = files.read(folder, NODES) or {"size": 0, "came": {}, "said": []}
    if log_size(folder) > known["size"]:
        os.truncate(folder / files.LOG, known["size"])
    return known
