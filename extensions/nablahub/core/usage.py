"""How much of the disk each team's ``/storage`` and each user's home takes, as last measured.

The service measures and writes the file; the hub reads it too, so that it knows when the service is
away or the disk is full.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Final, Literal

from nablahub.core.quantities import human

#: Part of a quota from which on there is a warning.
WARN_AT: Final = 0.8

Level = Literal["ok", "warning", "over"]


@dataclass(frozen=True)
class FolderUsage:
    """What one folder takes.

    Parameters
    ----------
    bytes : int
        On the disk; what has several names counts once.
    files : int
        Their number.
    quota : int
        Bytes; 0: none.
    at : float
        When it was measured, in seconds since 1970.
    largest : list of (str, int)
        The largest folders (ending in ``/``) and files in it, with their bytes.
    """

    bytes: int = 0
    files: int = 0
    quota: int = 0
    at: float = 0.0
    largest: list[tuple[str, int]] = field(default_factory=list)

    @property
    def level(self) -> Level:
        """Where it stands against its quota."""
        if not self.quota or self.bytes < WARN_AT * self.quota:
            return "ok"
        return "warning" if self.bytes < self.quota else "over"

    def sentence(self, name: str) -> str:
        """Return what to tell of it; empty when there is no need.

        Parameters
        ----------
        name : str
            What people call it, such as ``/storage``.
        """
        if self.level == "ok":
            return ""
        used = f"{human(self.bytes)} of {human(self.quota)}"
        said = f"{name} is over its quota" if self.level == "over" else f"{name} is nearly full"
        return f"{said}: {used} are used. {self.large(name)}".rstrip()

    def large(self, name: str) -> str:
        """Return a sentence about what in it is large; empty when there is nothing."""
        listed = ", ".join(f"{path} {human(size)}" for path, size in self.largest)
        return f"Largest in {name}: {listed}." if listed else ""


def load(file: Path) -> dict[str, FolderUsage]:
    """Return what was measured, by ``storage/<team>`` and ``homes/<user>``; empty when nothing."""
    try:
        rows = json.loads(file.read_text())
        return {name: restored(row) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}  # It is measured again.


def restored(row: dict[str, Any]) -> FolderUsage:
    """Return what was kept by :func:`dataclasses.asdict`, as JSON has it."""
    return FolderUsage(**{**row, "largest": [(path, size) for path, size in row["largest"]]})


def save(file: Path, found: dict[str, FolderUsage]) -> None:
    """Write the file whole; OSError when the disk is full."""
    new = file.with_name(f".{file.name}.{token_hex(4)}")
    try:
        new.write_text(json.dumps({name: asdict(usage) for name, usage in found.items()}))
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
