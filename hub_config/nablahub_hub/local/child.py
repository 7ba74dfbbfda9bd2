"""One supervised process: started, adopted, watched, restarted, ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nablahub.core.pids import gone
from nablahub_hub.local import procfs, sockets, web
from nablahub_hub.local.config import HOST

#: Seconds between a death and the restart: doubled at each, forgotten after a quiet while.
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 10.0
QUIET = 30.0
#: Bytes after which a log is put aside at the next start.
LOG_LIMIT = 16 * 1024**2


@dataclass(frozen=True)
class Spec:
    """How a process is started and how it says that it is ready.

    Parameters
    ----------
    name : str
        ``hub``, ``service`` or ``traefik``; its log's name.
    argv : tuple of str
        Command.
    env : dict of str to str
        Whole environment, without our marks.
    cwd, log : pathlib.Path
        Working folder; file that its output is appended to.
    ready_url : str
        Answers 200 when it is ready.
    depends : tuple of str
        Contents of files it reads only at its start: another content means another process.
    ports : mapping of str to int
        Ports that it is handed sockets for, at most two, by their names.
    host : str
        The address of those ports.
    """

    name: str
    argv: tuple[str, ...]
    env: dict[str, str] = field(repr=False)
    cwd: Path
    log: Path
    ready_url: str
    depends: tuple[str, ...] = ()
    ports: Mapping[str, int] = field(default_factory=dict)
    host: str = HOST

    @property
    def role(self) -> str:
        """Name and fingerprint, the mark of the process that runs exactly this."""
        told = json.dumps([self.argv, self.depends])
        return f"{self.name}:{hashlib.sha256(told.encode()).hexdigest()[:16]}"


class Child:
    """A process kept alive until :meth:`end`.

    Parameters
    ----------
    spec : Spec
        What to run.
    session : str
        Mark of the state directory.
    say : callable
        Told in a sentence when it died and was started again.
    """

    def __init__(self, spec: Spec, session: str, say: Callable[[str], None]) -> None:
        self.spec = spec
        self.session = session
        self.pid: int | None = None
        self.adopted = False
        self.deaths = 0
        self._say = say
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._sockets: dict[str, socket.socket] = {}

    async def start(self) -> None:
        """Adopt the process when it runs already, else start it; then keep it running."""
        await self._adopt()
        if self.pid is None:
            self._launch()
        self._keeper = asyncio.create_task(self._keep(), name=f"keep {self.spec.name}")

    async def ready(self) -> None:
        """Return when it answers."""
        await web.until_answers(self.spec.ready_url)

    async def forget(self) -> None:
        """Do not start it again when it ends."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
            self._keeper = None

    async def end(self, patience: float) -> None:
        """End it, and do not start it again."""
        await self.forget()
        if self.pid is not None:
            await procfs.end([self.pid], patience=patience)
            self._reap()

    def release(self) -> None:
        """Give its ports back."""
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()

    def last_words(self, lines: int = 15) -> str:
        """Return the end of its log."""
        try:
            return "\n".join(self.spec.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return ""

    async def _adopt(self) -> None:
        """Take over what a killed supervisor left, or end it when it was started otherwise."""
        others = []
        for found in procfs.processes(self.session):
            if not found.leader or found.role.partition(":")[0] != self.spec.name:
                continue
            if found.argv != self.spec.argv:
                continue  # inherited the mark: something that one of ours started
            if found.role == self.spec.role and self.pid is None:
                self.pid = found.pid
                self.adopted = True
            else:
                others.append(found.pid)
        holders = others if self.pid is None else [self.pid, *others]
        for name, port in self.spec.ports.items():
            copy = sockets.taken(holders, port, self.spec.host)
            if copy is not None:
                self._sockets[name] = copy
        await procfs.end(others, patience=5)

    def _launch(self) -> None:
        log = self.spec.log
        if log.exists() and log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_suffix(".log.1"))
        argv, told = sockets.command(self.spec.argv, self._bound())
        marks = {procfs.SESSION: self.session, procfs.ROLE: self.spec.role}
        ends = [one.fileno() for one in self._sockets.values()]
        with log.open("ab") as output:
            os.fchmod(output.fileno(), 0o600)
            ends += [output.fileno()] if ends else [subprocess.DEVNULL, output.fileno()]
            self._process = subprocess.Popen(
                argv,
                env={**self.spec.env, **marks, **told},
                cwd=self.spec.cwd,
                stdin=ends[0],
                stdout=ends[1],
                stderr=output,
                start_new_session=True,
            )
        self.pid = self._process.pid
        self.adopted = False

    def _bound(self) -> dict[str, socket.socket]:
        """Bind what is not bound yet; a port that another program has is left to the process."""
        for name, port in self.spec.ports.items():
            if name not in self._sockets:
                made = sockets.bind(port, self.spec.host)
                if made is not None:
                    self._sockets[name] = made
        return self._sockets

    def _reap(self) -> int | None:
        code = self._process.wait() if self._process is not None else None
        self._process = None
        self.pid = None
        return code

    async def _keep(self) -> None:
        pause = FIRST_PAUSE
        while True:
            born = time.monotonic()
            assert self.pid is not None
            await gone(self.pid)
            code = self._reap()
            self.deaths += 1
            if time.monotonic() - born > QUIET:
                pause = FIRST_PAUSE
            how = f"signal {-code}" if code is not None and code < 0 else f"status {code}"
            self._say(f"The {self.spec.name} ended ({how}); starting it again.")
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
            self._launch()
