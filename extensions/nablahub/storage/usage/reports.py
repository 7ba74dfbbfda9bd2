"""What is in the claims of a cluster: the service sees none of them, so servers that do tell it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict

from sqlalchemy.orm import Session

from nablahub.core.usage import FolderUsage, restored
from nablahub.storage.store import StorageUsageRow
from nablahub.storage.usage.types import DiskUsage, UsageReport, disk_usage


def keep(session: Session, owner: str, said: UsageReport) -> None:
    """Keep what somebody who sees a claim says of it.

    Parameters
    ----------
    owner : str
        The team's id, or the user's name.
    said : UsageReport
        It is shown to those who may see the claim anyway, and decides nothing.
    """
    largest = [(large.path, large.bytes) for large in said.largest]
    found = FolderUsage(said.bytes, said.files, said.quota_bytes or 0, time.time(), largest)
    session.merge(StorageUsageRow(kind=said.kind, owner=owner, found=json.dumps(asdict(found))))


def told(session: Session, teams: Mapping[str, str], user: str | None) -> list[DiskUsage]:
    """Return what was told last of the claims of teams and of a user's home.

    Parameters
    ----------
    teams : mapping of str to str
        Names by id.
    user : str or None
        None: nobody's home.
    """
    shown = []
    for team_id, name in teams.items():
        if (row := session.get(StorageUsageRow, ("storage", team_id))) is not None:
            shown.append(
                disk_usage("storage", name, restored(json.loads(row.found)), team_id, is_claim=True)
            )
    if user is not None and (row := session.get(StorageUsageRow, ("home", user))) is not None:
        shown.append(disk_usage("home", user, restored(json.loads(row.found)), is_claim=True))
    return shown
