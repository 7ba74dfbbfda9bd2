"""What ``/storage`` of teams and homes of users take of the disk, as ``nablahub status`` shows it.

It is read from the file in which the service keeps what it measured, so it is told while the
service is away too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, Literal

from nablahub.core import usage
from nablahub.core.quantities import human
from nablahub.core.state import StateDir
from nablahub.core.usage import FolderUsage, Level
from nablahub_spawner.teams import remembered

#: So many are shown to people; those that need room come first.
SHOWN: Final = 10
_WORDS: Final = {"ok": "", "warning": "  ▲ nearly full", "over": "  ✗ over its quota"}
_ORDER: Final = ("over", "warning", "ok")


@dataclass(frozen=True)
class Disk:
    """What one folder takes.

    Parameters
    ----------
    kind : str
        ``storage`` of a team, or a ``home``.
    name : str
        Of the team, by its id where nobody has started a server yet; or of the home's folder.
    bytes, files : int
        On the disk.
    quota_bytes : int or None
        None: no limit.
    level : str
        ``warning`` from 80 percent of the quota on.
    measured_at : str
        RFC 3339, in UTC.
    """

    kind: Literal["storage", "home"]
    name: str
    bytes: int
    files: int
    quota_bytes: int | None
    level: Level
    measured_at: str

    def words(self) -> str:
        """Return what is said of it."""
        if self.quota_bytes is None:
            return human(self.bytes)
        share = f"{100 * self.bytes // self.quota_bytes} %"
        return f"{human(self.bytes)} of {human(self.quota_bytes)} ({share}){_WORDS[self.level]}"


def look(state: StateDir) -> list[Disk]:
    """Return all that was measured: what is over its quota first, then what is largest."""
    known_teams = (remembered(file) for file in (state.run / "servers").glob("*.teams.json"))
    names = {team.id: team.name for teams in known_teams for team in teams}
    found = [_disk(name, known, names) for name, known in usage.load(state.usage).items()]
    return sorted(found, key=lambda disk: (_ORDER.index(disk.level), -disk.bytes, disk.name))


def _disk(where: str, known: FolderUsage, names: dict[str, str]) -> Disk:
    root, _, folder = where.partition("/")
    return Disk(
        kind="storage" if root == "storage" else "home",
        name=names.get(folder, folder),
        bytes=known.bytes,
        files=known.files,
        quota_bytes=known.quota or None,
        level=known.level,
        measured_at=datetime.fromtimestamp(known.at, UTC).isoformat(timespec="seconds"),
    )


def fields(found: Sequence[Disk]) -> dict[str, str]:
    """Return what people are shown, by what it is called."""
    shown = {
        f"{'/storage' if disk.kind == 'storage' else 'home'} of {disk.name}": disk.words()
        for disk in found[:SHOWN]
    }
    if len(found) > SHOWN:
        shown["and others"] = f"{len(found) - SHOWN}, all of them by --json"
    return shown
