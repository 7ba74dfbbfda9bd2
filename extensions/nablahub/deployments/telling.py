"""What is told of a deployment: its state and one sentence, from its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from nablahub.deployments.store import DeploymentRow, ServerRow, SpecRow
from nablahub.deployments.types import DeploymentSpec


@dataclass(frozen=True)
class Telling:
    """Puts the whole into one state and one sentence.

    Parameters
    ----------
    row, target, serving : DeploymentRow, SpecRow, SpecRow or None
        The deployment, the version that is wanted, the one that answers.
    document : DeploymentSpec
        The spec that is wanted.
    places : int
        How many servers that takes.
    servers : sequence of ServerRow
        All there are.
    counts : mapping of str to int
        Of a server's job → how many take requests behind its address, where that is not one.
    waiting : str
        Why a server waits, if one does.
    at : datetime
        Now.
    """

    row: DeploymentRow
    target: SpecRow
    serving: SpecRow | None
    document: DeploymentSpec
    places: int
    servers: Sequence[ServerRow]
    counts: Mapping[str, int]
    waiting: str
    at: datetime

    def _ready(self, fingerprint: str) -> list[ServerRow]:
        return [s for s in self.servers if s.fingerprint == fingerprint and s.state == "ready"]

    def tell(self) -> None:
        """Put the whole into one state and one sentence."""
        row, target, serving = self.row, self.target, self.serving
        shown = serving or target
        ready = self._ready(shown.fingerprint)
        row.ready_replicas = sum(self.counts.get(s.job_id, 1) for s in ready)
        if row.deleted or self.document.wanted == 0:
            live = any(server.state != "gone" for server in self.servers)
            row.ready_replicas = 0
            row.state, row.reason = "Stopped", ""
            row.message = "Its servers are ending." if live else ""
        elif serving is None:
            self._tell_first()
        elif serving.verdict != "healthy" or not ready:
            self._tell_restart(ready)
        else:
            row.state, row.reason, row.message = "Running", "", ""
            missing = self._troubled(serving.fingerprint)
            if target.verdict == "failed":
                row.reason = "rollout"
                row.message = (
                    f"Version {target.number} was given up, version {serving.number} still "
                    f"answers. {target.message}"
                )
            elif target.number != serving.number:
                row.message = (
                    f"Version {target.number} is starting; version {serving.number} answers "
                    "meanwhile."
                )
            elif row.ready_replicas < self.document.wanted:
                row.message = f"{row.ready_replicas} of {self.document.wanted} servers are ready. "
                row.message = (row.message + missing).strip()

    def _tell_first(self) -> None:
        row, target = self.row, self.target
        live = [s for s in self.servers if s.fingerprint == target.fingerprint and s.address]
        if target.verdict == "failed":
            row.state, row.reason, row.message = "Failed", "rollout", target.message
        elif len(self._ready(target.fingerprint)) >= self.places:
            row.state, row.reason = "Provisioned", ""
            row.message = "Its servers are ready; a sample is being tried through its address."
            row.message = f"{row.message} {target.message}".strip()
        elif live:
            row.state, row.reason, row.message = "Provisioned", "", "The model is being loaded."
        else:
            trouble = self._troubled(target.fingerprint)
            row.state, row.reason = "Pending", "restarting" if trouble else ""
            row.message = trouble or self.waiting or "Its model server is about to start."

    def _tell_restart(self, ready: Sequence[ServerRow]) -> None:
        row = self.row
        serving = self.serving
        assert serving is not None
        if ready:
            row.state, row.reason = "Provisioned", ""
            row.message = "Its servers are ready; a sample is being tried through its address."
            row.message = f"{row.message} {serving.message}".strip()
        else:
            row.state, row.reason = "Pending", "restarting"
            row.message = self._troubled(serving.fingerprint) or (
                self.waiting or "Its model server is starting again."
            )

    def _troubled(self, fingerprint: str) -> str:
        """Tell of a server that died, and when it is tried again."""
        for server in self.servers:
            if server.fingerprint != fingerprint or not server.message:
                continue
            if server.state == "starting":
                return f"A model server is being replaced: {server.message}"
            if server.state == "gone" and server.due is not None:
                seconds = max(0, round((server.due - self.at).total_seconds()))
                return (
                    f"A model server ended: {server.message} It is started again in {seconds} s "
                    f"(attempt {server.attempt + 1})."
                )
        return ""
