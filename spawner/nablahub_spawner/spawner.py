"""The spawner: a single-user server of an instance type, in a sandbox."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from jupyterhub.slugs import safe_slug
from jupyterhub.spawner import LocalProcessSpawner
from jupyterhub.utils import random_port
from traitlets import Bool, Float, Unicode, default

from nablahub.core import usage
from nablahub.core.errors import NablaError
from nablahub.core.identity import PUBLIC
from nablahub.core.instances import InstanceType
from nablahub.core.sandbox import probe
from nablahub.mounts import running
from nablahub_spawner import builder, process
from nablahub_spawner.common import NablaSpawner
from nablahub_spawner.environment import default_environment
from nablahub_spawner.failures import SpawnFailed
from nablahub_spawner.limits import MemoryWatch, on_cpus, pick_cpus
from nablahub_spawner.news import News
from nablahub_spawner.teams import remembered

#: With less than that on the hub's disk servers do without it.
FULL_BYTES = 32 * 1024**2


def is_full(folder: Path) -> bool:
    """Whether the disk of a folder is full."""
    return shutil.disk_usage(folder).free < FULL_BYTES


class SandboxedSpawner(NablaSpawner, LocalProcessSpawner):  # type: ignore[misc]  # JupyterHub ships no types
    """Starts single-user servers of an instance type in a bubblewrap sandbox.

    Inside there are the user's home, ``/storage``, ``/datasets`` and the system's programs, and
    neither the hub's files nor other homes or processes. All homes belong to the operating
    system's user that the hub runs as; no account of that name has to exist.
    """

    environments_dir = Unicode(
        config=True,
        help="Folder of the Python environments; empty: the state directory's own.",
    )
    unsandboxed = Bool(
        False,
        config=True,
        help="Accept, knowingly, that servers run without a sandbox where bubblewrap cannot run.",
    )
    stop_patience = Float(
        8.0, config=True, help="Seconds a server has to end its kernels before it is killed."
    )
    memory_check_interval = Float(
        2.0, config=True, help="Seconds between two looks at a server's memory."
    )

    port: int  # a traitlet of JupyterHub's Spawner
    identity: process.Identity | None = None
    _popen: subprocess.Popen[bytes] | None = None
    _watch: MemoryWatch | None = None

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        return [sys.executable, "-m", "nablahub_spawner.singleuser"]

    # -- start ----------------------------------------------------------------------------------

    @property
    def mark(self) -> str:
        """Names this server among all of this machine, in its keeper's environment."""
        return f"{os.environ.get(process.SESSION, self.state_dir)}:{self.user.name}/{self.name}"

    @property
    def folder(self) -> Path:
        """What belongs to this server alone."""
        return self.state.server(self.user.name, self.name)

    def user_env(self, env: dict[str, str]) -> dict[str, str]:
        """Set nothing from accounts of the operating system: there need be none."""
        return env

    def make_preexec_fn(self, name: str) -> None:
        """Change no user id: all servers belong to the hub's."""
        return

    async def move_certs(self, paths: dict[str, str]) -> dict[str, str]:
        """Leave certificates of internal SSL where they are."""
        return paths

    async def start(self) -> tuple[str, int]:
        """Start the server; returns where it will listen."""
        self._news = News()
        try:
            return await self._start(await self.choose(self.user_options))
        finally:
            self._news.end()

    async def _start(self, kind: InstanceType) -> tuple[str, int]:
        without = await asyncio.to_thread(probe)
        if without is not None and not self.unsandboxed:
            raise SpawnFailed(without, reason="sandbox", status_code=500)
        server = await self._describe(sandboxed=without is None)
        if room := await asyncio.to_thread(self.room):
            self.tell(room)
        await asyncio.to_thread(builder.adopt, self.state.homes / safe_slug(self.user.name), server)
        await asyncio.to_thread(builder.prepare, server)
        for pid in process.marked(self.mark):  # of a hub that was killed before it wrote it down
            found = process.Identity.of(pid)
            if found is not None:
                await process.stop(found, patience=self.stop_patience)
        self.port = self.port or random_port()
        argv, env = self._command(server)
        self._popen = self._launch(argv, env, server, kind)
        self.pid = self._popen.pid
        self.identity = process.Identity.of(self.pid)
        self._watch_memory()
        return (self.ip or "127.0.0.1", self.port)

    async def _describe(self, *, sandboxed: bool) -> builder.Server:
        teams = await self.teams()
        team = next((team.id for team in teams if team.private), None)
        try:
            built = Path(self.environments_dir) if self.environments_dir else None
            folder = built or self.state.environments
            environment = await default_environment(folder, self.tell)
        except NablaError as error:
            raise SpawnFailed(str(error), reason="environment", status_code=503) from error
        return builder.Server(
            user=self.slug,
            home=self.state.homes / self.slug,
            folder=self.folder,
            storage=self.state.storage / team if team else None,
            caches={
                name: self.state.cache / name for name in (PUBLIC, *(team.id for team in teams))
            },
            environment=environment,
            sandboxed=sandboxed,
            buckets=self.state.server_buckets(self.user.name, self.name),
            own=builder.in_memory(self.folder) if is_full(self.state.root) else None,
        )

    def room(self) -> str:
        """Return what to tell of the room for the user's files; empty when there is no need.

        The files stay writable in a server whatever a quota says: there its user makes room.
        """
        team = next((team.id for team in remembered(self.teams_memory) if team.private), "")
        names = {f"storage/{team}": "/storage", f"homes/{self.slug}": "Your home"}
        known = usage.load(self.state.usage)
        found = [(known[key], name) for key, name in names.items() if key in known]
        told = [used.sentence(name) for used, name in found]
        if is_full(self.state.root):
            told = ["The hub's disk is full.", *(used.large(name) for used, name in found)]
        return " ".join(sentence for sentence in told if sentence)

    def _command(self, server: builder.Server) -> tuple[list[str], dict[str, str]]:
        """Return the keeper's arguments and environment."""
        env = self.get_env()
        env.pop("PYTHONPATH", None)
        env |= {"NABLAHUB_URL": self.service_url, **self.limit_variables()}
        marks = {process.MARK: self.mark, process.SESSION: os.environ.get(process.SESSION, "")}
        command = [*self.cmd, *self.get_args()]
        if not server.sandboxed:
            builder.link_outside(server)
            env.update(builder.variables_outside(server))
            if os.geteuid() == 0:
                command.append("--allow-root")
            return [*process.KEEPER, *command], {**env, **marks}
        env.update(builder.variables(server))
        server = builder.with_env(server, env)
        box = builder.sandbox(server)
        return [*process.SANDBOX_KEEPER, *box.argv(command)], {**box.environ(), **marks}

    def _launch(
        self, argv: list[str], env: dict[str, str], server: builder.Server, kind: InstanceType
    ) -> subprocess.Popen[bytes]:
        cpus = pick_cpus(kind.cpus)
        self.log.info("Starting the server of %s (%s) on CPUs %s", self._log_name, kind.name, cpus)
        with (
            running.begun(server.folder) as lock,
            (server.made / "server.log").open("wb") as log,
            on_cpus(cpus),
        ):
            keeper = subprocess.Popen(
                argv,
                env=env,
                cwd=server.home,
                stdin=lock,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            running.note(lock, keeper.pid)
            return keeper

    # -- look, stop, find again -------------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return what the hub's database keeps of a running server."""
        saved: dict[str, Any] = super().get_state()
        if self.identity is not None:
            saved["process"] = self.identity.save()
        return saved

    def load_state(self, state: dict[str, Any]) -> None:
        """Find the server again after the hub was started anew."""
        super().load_state(state)
        self.identity = process.Identity.load(state.get("process"))
        if self.identity is not None:
            self.apply_limits_again()

    def apply_limits_again(self) -> None:
        """Watch an adopted server's memory; its processors are still set."""
        if self.kind is not None:
            self.limit_to(self.kind)
            self._watch_memory()

    def clear_state(self) -> None:
        """Forget a server that has ended."""
        super().clear_state()
        self.identity = None
        if self._watch is not None:
            self._watch.stop()
            self._watch = None

    async def poll(self) -> int | None:
        """Return None while the server runs, else its exit status (0 when nobody knows it)."""
        if self.identity is None:
            self.clear_state()
            return 0
        if self._popen is not None:
            code = self._popen.poll()
            if code is not None:
                self._popen = None
                self.clear_state()
            return code
        if self.identity.alive():
            return None
        self.clear_state()
        return 0

    async def stop(self, now: bool = False) -> None:
        """End the server and everything it started; returns when nothing of it runs."""
        self.note_end()
        if self.identity is not None:
            await process.stop(self.identity, patience=0 if now else self.stop_patience)
        if self._popen is not None:
            self._popen.wait()
            self._popen = None
        self.clear_state()
        await asyncio.to_thread(builder.leave_memory, self.folder)

    def _watch_memory(self) -> None:
        if self.identity is not None and self.mem_limit:
            self._watch = MemoryWatch(
                self.identity, int(self.mem_limit), self.memory_check_interval, self.log
            )
            self._watch.start()
