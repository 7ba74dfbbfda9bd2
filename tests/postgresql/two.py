"""Processes of the service that share one PostgreSQL and one state directory."""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from nablahub.core.settings import Settings
from nablahub.core.state import StateDir
from nablahub.core.transport import Transport
from nablahub.jobs.runners.process.ports import free_port
from tests.support import postgres
from tests.support.waiting import until

USER = "alice"


@dataclass
class Replica:
    """One process of the service."""

    port: int
    process: subprocess.Popen[bytes]
    log: Path
    _transport: Transport | None = None

    @property
    def address(self) -> str:
        """Where the others reach it."""
        return f"http://127.0.0.1:{self.port}"

    def transport(self) -> Transport:
        """Return alice's transport to it, which sends nothing again."""
        if self._transport is None:
            self._transport = self.patient(tries=1)
        return self._transport

    def patient(self, **how: int) -> Transport:
        """Return a transport of alice's as people have it."""
        return Transport(f"{self.address}/services/nablahub", f"token-of-{USER}", **how)

    def close(self) -> None:
        """End it if it still runs, and what is connected to it."""
        if self._transport is not None:
            self._transport.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal that ends it, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(30)


@dataclass
class Replicas:
    """What processes of one service share."""

    root: Path
    hub_url: str
    environments: Path
    database: dict[str, str] = field(default_factory=lambda: postgres.shared().settings())
    started: list[Replica] = field(default_factory=list)

    def start(self) -> Replica:
        """Start one more and wait until it answers."""
        state = StateDir(self.root).make()
        port = free_port()
        settings = Settings(
            state_dir=state.root, public_url=f"http://127.0.0.1:{port}",
            hub_api_url=self.hub_url, service_port=port, environments_dir=self.environments,
            database_url=self.database["database_url"],
            database_password_file=Path(self.database["database_password_file"]),
        )  # fmt: skip
        file = state.root / f"settings-{port}.json"
        file.write_text(settings.model_dump_json())
        log = state.root / f"{port}.log"
        command = ["-m", "nablahub.service", f"--state-dir={state.root}", f"--settings={file}"]
        with log.open("wb") as out:
            process = subprocess.Popen([sys.executable, *command], stdout=out, stderr=out)
        made = Replica(port, process, log)
        self.started.append(made)
        transport = made.transport()

        def answers() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                return bool(transport.get("/whoami")["name"] == USER)
            except Exception:  # noqa: BLE001 - whatever it is, it does not answer yet
                return False

        until(answers, "the replica answers")
        return made

    def leader(self) -> str:
        """Return the leader's address as the database says; empty when there is none."""
        with self.connect() as connection:
            row = connection.execute(
                "SELECT address FROM leader WHERE until > extract(epoch FROM clock_timestamp())"
            ).fetchone()
        return str(row[0]) if row else ""

    def connect(self) -> psycopg.Connection:
        """Return a connection to the database."""
        return postgres.shared().connect(self.database["database_url"].rpartition("/")[2])

    def end(self) -> None:
        """End what still runs."""
        for replica in self.started:
            replica.close()
