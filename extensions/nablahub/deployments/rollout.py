"""What a deployment does next: a look at its rows and jobs, one step towards what is wanted.

A new version's servers are started beside the old ones; when all of them are ready a sample is
tried on them through the public entry, on a way that only the prober can take (``proved``); then
traffic goes to them, the sample is tried on everybody's way (``healthy``), and only then the old
ones are drained. A version that doesn't get that far is given up, and the old one stays.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from sqlalchemy.orm import Session

from nablahub.core.errors import NablaError
from nablahub.deployments.servers import Servers
from nablahub.deployments.store import DeploymentRow, ServerRow, SpecRow, servers, spec
from nablahub.deployments.telling import Telling
from nablahub.deployments.traffic import canary_due, places
from nablahub.deployments.types import DeploymentSpec

#: A version is given up when one of its servers has died so often before it was ready.
ATTEMPTS: Final = 3
#: How long a server may take from its first address to being ready.
STARTING: Final = timedelta(minutes=10)
#: How long a sample may go unanswered before a version is given up.
PROBING: Final = timedelta(seconds=20)
#: Between a server's last route and its end, so that Traefik has taken up the new routes (it
#: waits two seconds between two changes, unless it's told otherwise).
DRAINING: Final = timedelta(seconds=3)
#: A server that was ready for so long starts afresh with its back-off.
PROVEN: Final = timedelta(seconds=60)
#: A look at a server that has no address yet; its job's changes wake us earlier.
WAITING: Final = timedelta(seconds=2)
LONGEST_WAIT: Final = 60.0
#: Between two health checks of servers that are ready.
IDLE_SECONDS: Final = 10.0

Probe = Literal["none", "canary", "main"]


@dataclass(frozen=True)
class Place:
    """A server that has an address: where it is, and which attempt it is."""

    fingerprint: str
    replica: int
    attempt: int
    address: str


@dataclass
class View:
    """What a step found, for what must be done outside of the transaction."""

    deployment_id: str
    name: str
    version: int
    probe: Probe = "none"
    sample: dict[str, Any] | None = None
    starting: list[Place] = field(default_factory=list)
    ready: list[Place] = field(default_factory=list)
    delay: float | None = None
    gone: bool = False


def backoff(failures: int) -> timedelta:
    """Return the wait before the next attempt: 1, 2, 4 … 60 seconds."""
    return timedelta(seconds=min(2.0 ** (failures - 1), LONGEST_WAIT))


class Rollout:
    """One step for one deployment, in the session's transaction.

    Parameters
    ----------
    session : Session
        A write transaction.
    jobs : Servers
        Starts and stops servers.
    row : DeploymentRow
        The deployment.
    at : datetime
        Now.
    """

    def __init__(self, session: Session, jobs: Servers, row: DeploymentRow, at: datetime) -> None:
        self._session = session
        self._jobs = jobs
        self._row = row
        self._at = at
        self._target = spec(session, row.id, row.spec_version)
        self._document = DeploymentSpec.model_validate_json(self._target.document)
        self._servers = list(servers(session, row.id))
        #: Of each server → how many take requests behind its address.
        self._counts: dict[str, int] = {}
        self._waiting = ""
        self._dues: list[datetime] = []

    def advance(self) -> View:
        """Look, act, and say what is left to do outside."""
        row = self._row
        for server in self._servers:
            if server.state != "gone":
                self._look(server)
        if row.deleted or self._document.wanted == 0:
            row.serving_version = row.previous_version = None
        self._give_up()
        wanted = self._wanted()
        for server in self._servers:
            count = wanted[server.fingerprint][1] if server.fingerprint in wanted else 0
            if server.replica >= count:
                self._retire(server)
        for source, count in wanted.values():
            for replica in range(count):
                self._ensure(source, replica)
        self._adopt()
        probe = self._probe()
        Telling(
            row, self._target, self._serving(), self._document,
            places=self._places(self._document), servers=self._servers, counts=self._counts,
            waiting=self._waiting, at=self._at,
        ).tell()  # fmt: skip
        live = [server for server in self._servers if server.state != "gone"]
        view = View(row.id, row.name, row.spec_version, probe, gone=row.deleted and not live)
        if probe != "none":
            number = row.serving_version if probe == "main" else row.spec_version
            assert number is not None
            view.version, view.sample = number, _sample(spec(self._session, row.id, number))
        view.starting = [_place(s) for s in live if s.state == "starting" and s.address]
        view.ready = [_place(s) for s in live if s.state == "ready"]
        if any(s.state == "starting" and not s.address for s in live):
            self._dues.append(self._at + WAITING)
        waits = [max(0.05, (due - self._at).total_seconds()) for due in self._dues]
        view.delay = min([IDLE_SECONDS, *waits])
        return view

    # What is.

    def _look(self, server: ServerRow) -> None:
        found = self._jobs.look(self._session, server.job_id)
        if found.state == "ended":
            self._ended(server, found.message, failed=found.failed)
            return
        self._counts[server.job_id] = found.servers
        if found.state == "waiting":
            self._waiting = found.message
            if server.state == "ready":
                # All pods of a version can be gone for a while; the cluster makes others.
                server.state, server.since, server.address = "starting", self._at, ""
                server.message = found.message
        elif server.state == "starting":
            if server.address != found.address:
                server.address, server.since = found.address, self._at
            elif self._at - server.since > STARTING:
                minutes = int(STARTING.total_seconds() // 60)
                server.message = f"The model was not loaded within {minutes} minutes."
                self._jobs.stop(self._session, server.job_id)

    def _ended(self, server: ServerRow, message: str, *, failed: bool = True) -> None:
        """A server is gone; unless that was wanted, it's started again, after a fault later."""
        if server.state == "draining" or not failed:
            server.due = None
        else:
            lasted = server.state == "ready" and self._at - server.since > PROVEN
            server.failures = 1 if lasted else server.failures + 1
            server.due = self._at + backoff(server.failures)
            server.message = server.message or message
        server.state, server.since, server.address = "gone", self._at, ""

    def _ready(self, fingerprint: str) -> list[ServerRow]:
        return [s for s in self._servers if s.fingerprint == fingerprint and s.state == "ready"]

    def _serving(self) -> SpecRow | None:
        number = self._row.serving_version
        return None if number is None else spec(self._session, self._row.id, number)

    # What is to be.

    def _wanted(self) -> dict[str, tuple[SpecRow, int]]:
        """Return how many servers there are to be, and of what, by fingerprint."""
        if self._row.deleted or self._document.wanted == 0:
            return {}
        wanted: dict[str, tuple[SpecRow, int]] = {}
        if self._target.verdict != "failed":
            wanted[self._target.fingerprint] = (self._target, self._places(self._document))
        for number in (self._row.serving_version, self._row.previous_version):
            if number is not None:
                older = spec(self._session, self._row.id, number)
                count = self._places(DeploymentSpec.model_validate_json(older.document))
                wanted.setdefault(older.fingerprint, (older, count))
        return wanted

    def _places(self, document: DeploymentSpec) -> int:
        return places(document, several=self._jobs.several)

    def _give_up(self) -> None:
        """Give a version up whose servers die before they are ready, unless it serves already."""
        serving = self._serving()
        same = serving is not None and serving.fingerprint == self._target.fingerprint
        if self._target.verdict != "pending" or same:
            return
        for server in self._servers:
            if server.fingerprint == self._target.fingerprint and server.failures >= ATTEMPTS:
                self._target.verdict = "failed"
                self._target.message = (
                    f"Its model server ended {server.failures} times before it was ready: "
                    f"{server.message}"
                )

    def _retire(self, server: ServerRow) -> None:
        """Take a server's traffic away, and end it a moment later."""
        if server.state in ("starting", "ready"):
            server.state, server.since = "draining", self._at
            server.due = self._at + DRAINING
        if server.state == "draining" and server.due is not None:
            if server.due <= self._at:
                self._jobs.stop(self._session, server.job_id)
                server.due = None
            else:
                self._dues.append(server.due)

    def _ensure(self, source: SpecRow, replica: int) -> None:
        """Have a server in this place, starting it (again) when it is due."""
        fingerprint = source.fingerprint
        key = (self._row.id, fingerprint, replica)
        server = self._session.get(ServerRow, key)
        if server is None:
            server = ServerRow(
                deployment_id=self._row.id, fingerprint=fingerprint, replica=replica, attempt=0,
                failures=0, state="gone", job_id="", address="", message="", since=self._at,
                due=None,
            )  # fmt: skip
            self._session.add(server)
            self._servers.append(server)
        if server.state == "draining" and server.due is not None:
            # Wanted again before it was told to end.
            server.state, server.due, server.since = "starting", None, self._at
        if server.state != "gone":
            self._jobs.scale(self._session, server.job_id, source)
            return
        if server.due is not None and server.due > self._at:
            self._dues.append(server.due)
            return
        server.attempt += 1
        server.state, server.since, server.due, server.address = "starting", self._at, None, ""
        try:
            server.job_id = self._jobs.start(self._session, self._row, source, server)
        except NablaError as error:
            # Such as a model version that has been deleted since.
            self._ended(server, str(error))
            self._dues.append(self._at + backoff(server.failures))

    def _adopt(self) -> None:
        """Let a version that only changes the number of servers serve at once."""
        serving = self._serving()
        if serving is None or serving.number == self._target.number:
            return
        if serving.fingerprint == self._target.fingerprint and self._target.verdict == "pending":
            self._target.verdict = serving.verdict
            self._target.sample = self._target.sample or serving.sample
            self._row.serving_version = self._target.number

    def _probe(self) -> Probe:
        """Say which way a sample is to be tried on now."""
        target = self._target
        serving = self._serving()
        if serving is not None and not self._ready(serving.fingerprint):
            if serving.verdict == "healthy":
                # Nobody answers any more, so the address has to prove itself again.
                serving.verdict, serving.probing_since = "proved", None
        elif serving is not None and serving.verdict == "proved":
            return "main"
        if self._canary_due():
            if target.probing_since is None:
                target.probing_since = self._at
            return "canary"
        return "none"

    def _canary_due(self) -> bool:
        wanted = self._places(self._document)
        return canary_due(self._row, self._target, wanted, self._servers)


def _place(server: ServerRow) -> Place:
    return Place(server.fingerprint, server.replica, server.attempt, server.address)


def _sample(version: SpecRow) -> dict[str, Any] | None:
    """Return the spec's own sample, else one that was answered, else None."""
    given = DeploymentSpec.model_validate_json(version.document).sample
    if given is None and version.sample is not None:
        given = json.loads(version.sample)
    return given
