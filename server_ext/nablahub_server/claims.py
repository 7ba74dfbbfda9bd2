"""Claims of a cluster: the servers that see them tell the service how full they are."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from nablahub.core.errors import NablaError
from nablahub.core.times import now
from nablahub.core.transport import Transport
from nablahub.core.usage import FolderUsage
from nablahub.storage.api import StorageAPI
from nablahub.storage.usage.measuring import measure
from nablahub.storage.usage.types import Large, UsageReport
from nablahub_server.upstream import Upstream

#: What the spawner tells of the claims, as JSON.
VARIABLE: Final = "NABLAHUB_CLAIMS"
EVERY_SECONDS: Final = 300.0
#: A team's claim is in many servers: what one of them told for so long spares the others the look.
TEAM_SECONDS: Final = 900.0
#: Part of one CPU that measuring takes at most.
DUTY: Final = 0.05


@dataclass(frozen=True)
class Claim:
    """A volume claim of this server.

    Parameters
    ----------
    kind
        Whether it is the user's home or a team's storage.
    path
        Where it is seen.
    bytes
        Its size; 0: unknown.
    team
        Whose storage, by id.
    """

    kind: Literal["home", "storage"]
    path: str
    bytes: int
    team: str | None = None

    def report(self, found: FolderUsage) -> UsageReport:
        """Return what to tell of it."""
        return UsageReport(
            kind=self.kind, team=self.team, bytes=found.bytes, files=found.files,
            quota_bytes=self.bytes or None,
            largest=[Large(path=path, bytes=size) for path, size in found.largest],
        )  # fmt: skip


def claims_of(environment: Mapping[str, str]) -> list[Claim]:
    """Return this server's claims; none where it is no pod."""
    return [Claim(**told) for told in json.loads(environment.get(VARIABLE, "[]"))]


class Reporter:
    """Measures claims in a thread, over and over, and tells the service.

    Parameters
    ----------
    upstream
        The service.
    claims
        What is measured.
    log
        Told when the service is away.
    """

    def __init__(self, upstream: Upstream, claims: list[Claim], log: logging.Logger) -> None:
        self._upstream, self._claims, self._log = upstream, claims, log
        self._asleep = threading.Event()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="claims", daemon=True).start()

    def tell(self) -> None:
        """Measure each claim and tell what is in it; raises what the service answers."""
        hub = Transport(self._upstream.url, self._upstream.token)
        try:
            api = StorageAPI(hub)
            known = {each.team_id: each.measured_at for each in api.usage() if each.team_id}
            for claim in self._claims:
                at = known.get(claim.team or "")
                if at is not None and (now() - at).total_seconds() < TEAM_SECONDS:
                    continue
                found = measure(Path(claim.path), claim.bytes, self._pause)
                if found is not None:
                    api.tell_usage(claim.report(found))
        finally:
            hub.close()

    def _run(self) -> None:
        while True:
            try:
                self.tell()
            except (NablaError, OSError) as error:
                self._log.warning("NablaHub: nobody was told how full the volumes are: %s", error)
            self._asleep.wait(EVERY_SECONDS)

    def _pause(self, worked: float) -> bool:
        return self._asleep.wait(worked * (1 / DUTY - 1))
