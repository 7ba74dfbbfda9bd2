"""The spawner: a single-user server of an instance type, in a sandbox."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from jupyterhub.slugs import safe_slug
from jupyterhub.spawner import LocalProcessSpawner, SpawnException
from jupyterhub.utils import random_port
from tornado.httpclient import AsyncHTTPClient, HTTPClientError
from traitlets import Bool, Float, Unicode, default

from nablahub.core.errors import NablaError
from nablahub.core.instances import InstanceType
from nablahub.core.sandbox import probe
from nablahub.core.state import StateDir
from nablahub_spawner import builder, process
from nablahub_spawner.environment import default_environment
from nablahub_spawner.instances import InstanceChoice
from nablahub_spawner.limits import MemoryWatch, on_cpus, pick_cpus


class SandboxedSpawner(InstanceChoice, LocalProcessSpawner):  # type: ignore[misc]  # JupyterHub ships no types
    """Starts single-user servers of an instance type in a bubblewrap sandbox.

    Inside there are the user's home, ``/storage``, ``/datasets`` and the system's programs, and
    neither the hub's files nor other homes or processes. All homes belong to the operating
    system's user that the hub runs as; no account of that name has to exist.
    """

    state_dir = Unicode(config=True, help="The hub's state directory.")
    service_url = Unicode(config=True, help="Where the hub service listens, with its prefix.")
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
    _news: asyncio.Queue[str | None] | None = None

    @default("cmd")
    def _default_cmd(self) -> list[str]:
        return [sys.executable, "-m", "nablahub_spawner.singleuser"]

    @default("options_form")
    def _default_options_form(self) -> Any:
        return type(self).cards_form

    @default("options_from_form")
    def _default_options_from_form(self) -> Any:
        return self.read_form

    @default("instance_types_file")
    def _default_instance_types_file(self) -> str:
        return str(self.state.instance_types)

    @property
    def kept_instance_types(self) -> Path:
        """Where the instance types that were last found sound are kept."""
        return self.state.kept_instance_types

    @default("default_url")
    def _default_default_url(self) -> str:
        return "/lab"

    # -- start ----------------------------------------------------------------------------------

    @property
    def state(self) -> StateDir:
        """The hub's state directory."""
        return StateDir(Path(self.state_dir))

    @property
    def slug(self) -> str:
        """The user's name, safe as a folder's."""
        return str(safe_slug(self.user.name))

    @property
    def mark(self) -> str:
        """Names this server among all of this machine, in its keeper's environment."""
        return f"{os.environ.get(process.SESSION, self.state_dir)}:{self.user.name}/{self.name}"

    @property
    def folder(self) -> Path:
        """What belongs to this server alone."""
        name = f"--{safe_slug(self.name)}" if self.name else ""
        return self.state.run / "servers" / f"{self.slug}{name}"

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
        kind = self.apply_instance(self.user_options)
        without = await asyncio.to_thread(probe)
        if without is not None and not self.unsandboxed:
            raise SpawnException(without, reason="sandbox", status_code=500)
        self._news = asyncio.Queue()
        server = await self._describe(sandboxed=without is None)
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
        await self._news.put(None)
        return (self.ip or "127.0.0.1", self.port)

    async def _describe(self, *, sandboxed: bool) -> builder.Server:
        team = await self._team()
        try:
            built = Path(self.environments_dir) if self.environments_dir else None
            folder = built or self.state.environments
            environment = await default_environment(folder, self._tell)
        except NablaError as error:
            raise SpawnException(str(error), reason="environment", status_code=503) from error
        return builder.Server(
            user=self.slug,
            home=self.state.homes / self.slug,
            folder=self.folder,
            storage=self.state.storage / team if team else None,
            cache=self.state.cache / team if team else None,
            environment=environment,
            sandboxed=sandboxed,
        )

    def _command(self, server: builder.Server) -> tuple[list[str], dict[str, str]]:
        """Return the keeper's arguments and environment."""
        env = self.get_env()
        env.pop("PYTHONPATH", None)
        env["NABLAHUB_URL"] = self.service_url
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
        with (server.folder / "server.log").open("wb") as log, on_cpus(cpus):
            return subprocess.Popen(
                argv,
                env=env,
                cwd=server.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def _team(self) -> str | None:
        """Return the id of the user's private team, whose storage and datasets are shown.

        Asked of the service as the user. When the service is away, the answer of last time.
        """
        known = self.state.run / "servers" / f"{self.slug}.team"
        try:
            answer = await AsyncHTTPClient().fetch(
                f"{self.service_url}/api/v1/teams?limit=200",
                headers={"Authorization": f"Bearer {self.api_token}"},
                request_timeout=10,
            )
        except (HTTPClientError, OSError) as error:
            if known.exists():
                return known.read_text().strip() or None
            raise SpawnException(
                "The NablaHub service does not answer, so it is not known which storage is "
                f"yours ({error}). Try again in a moment.",
                reason="service",
                status_code=503,
            ) from error
        teams = json.loads(answer.body)["items"]
        mine = next((t["id"] for t in teams if t.get("private", True)), None)
        known.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        known.write_text(mine or "")
        return mine

    def _tell(self, sentence: str) -> None:
        self.log.info("%s: %s", self._log_name, sentence)
        if self._news is not None:
            self._news.put_nowait(sentence)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """Yield what the page shows while the server starts."""
        yield {"progress": 10, "message": "Preparing your server"}
        percent = 10
        while self._news is not None and (news := await self._news.get()) is not None:
            percent = min(percent + 5, 60)
            yield {"progress": percent, "message": news}
        yield {"progress": 70, "message": "JupyterLab is starting"}

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

    def _watch_memory(self) -> None:
        if self.identity is not None and self.mem_limit:
            self._watch = MemoryWatch(
                self.identity, int(self.mem_limit), self.memory_check_interval, self.log
            )
            self._watch.start()
