"""One thin piece of work, from files to a prediction, through the client alone."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from nablahub.client import Hub
from nablahub.core.errors import NablaError
from nablahub.core.state import StateDir
from nablahub.workflows.types import ENDED
from tests.crash import model
from tests.support.waiting import PATIENCE, until

#: What one after the other is done; a part of the hub is killed within one of them.
PHASES = ("commit", "spawn", "starting", "running", "output", "model", "rollout")
INSTANCE = "C3"
FILES = 200
#: What the job is heard to say before it is let go on.
TICKS = 15

#: Appends its line first of all, then ticks until the test lets it go on, then leaves a dataset.
SCRIPT = """\
set -e
echo "$NABLAHUB_JOB" >> /storage/{name}.txt
n=0
until [ -e /storage/{name}.go ]; do echo "tick $n"; n=$((n + 1)); sleep 0.02; done
cp -r /inputs/data/. /outputs/made/
"""

#: Entered for as long as a phase lasts; what is in it is told of by name.
Phases = Callable[[str], AbstractContextManager[None]]


def no_phases(_name: str) -> AbstractContextManager[None]:
    """Tell nobody."""
    return nullcontext()


@dataclass
class Work:
    """The piece of work, each thing in it named after itself, so that nothing else is counted.

    Parameters
    ----------
    client : nablahub.client.Hub
        Does the work; retries as it does for anyone.
    listener : nablahub.client.Hub
        Hears of changes.
    state : StateDir
        Where ``/storage`` lies on this machine.
    name : str
        Unique.
    folder : pathlib.Path
        Empty; for the files to commit.
    replicas : int
        Model servers of the deployment.
    phase : callable
        Told of each phase.
    spawn : callable or None
        Starts a user's server, as a phase of its own.
    """

    client: Hub
    listener: Hub
    state: StateDir
    name: str
    folder: Path
    replicas: int = 1
    phase: Phases = no_phases
    spawn: Callable[[], None] | None = None
    project: Any = None
    dataset: Any = None
    version: Any = None
    workflow: Any = None
    run: Any = None
    deployment: Any = None
    heard: str = ""
    told: threading.Event = field(default_factory=threading.Event)

    def do(self) -> None:
        """Do all of it up to the deployment that answers."""
        self.prepare()
        with self.phase("commit"):
            self.commit()
        if self.spawn is not None:
            with self.phase("spawn"):
                self.spawn()
        with self.phase("starting"):
            self.start()
            job_id = self.until_it_runs()
        with self.phase("running"):
            self.listen_to(job_id)
        with self.phase("output"):
            self.release()
            self.until_committed()
        with self.phase("model"):
            self.finish()
        with self.phase("rollout"):
            self.deploy()

    def prepare(self) -> None:
        """Write the files, and make the project and the workflow."""
        chance = Random(self.name)
        (self.folder / "model.onnx").write_bytes(model.model_bytes())
        for number in range(FILES):
            path = self.folder / f"rows/{number % 10}/{number}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(chance.randbytes(10_000))
        self.project = self.client.projects.create(self.name)
        self.workflow = self.client.workflows.create(self.project.id, json.dumps(self.spec()))

    def spec(self) -> dict[str, Any]:
        """Return the workflow: a job that makes a dataset, then a model made of that."""
        make = {
            "uses": "script@v1",
            "inputs": {"data": "workflow.inputs.data"},
            "outputs": {"made": {"type": "dataset", "with": {"ref": f"{self.name}-made"}}},
            "with": {"image": "bash:5", "script": SCRIPT.format(name=self.name)},
            "resources": {"instance-type": INSTANCE},
        }
        register = {
            "uses": "create-model@v1",
            "needs": ["make"],
            "inputs": {"model": "make.outputs.made"},
            "with": {"name": self.name, "type": "ONNX"},
        }
        return {
            "name": self.name,
            "inputs": {"data": {"type": "dataset"}},
            "jobs": {"make": make, "register": register},
        }

    def commit(self) -> None:
        """Commit the files as a version of a dataset."""
        self.dataset = self.client.datasets.create(f"{self.name}-data", project=self.project.id)
        self.version = self.client.datasets.upload(self.dataset.id, self.folder)

    def start(self) -> None:
        """Start the run."""
        given = {"data": {"ref": self.version.ref}}
        self.run = self.client.workflows.start(self.workflow.id, given, key=f"run {self.name}")
        threading.Thread(target=self._listen, daemon=True, name=f"listen {self.name}").start()

    def _listen(self) -> None:
        """Hear when the job's output is committed, or the run ends without that."""
        try:
            for event in self.listener.transport.events(project=self.project.id, after=0):
                told = event.data
                made = told["kind"] == "dataset" and told["data"]["name"] == f"{self.name}-made"
                if made and told["data"]["latest"]:
                    self.heard = "committed"
                elif told["kind"] == "run" and told["data"]["state"] in ENDED:
                    self.heard = f"the run ended as {told['data']['state']}"
                if self.heard:
                    break
        except NablaError as error:
            self.heard = str(error)
        self.told.set()

    @property
    def storage(self) -> Path:
        """The team's folder that jobs see as ``/storage``."""
        return self.state.storage / str(self.project.team_id)

    def lines(self) -> list[str]:
        """Return what jobs appended: the id of each, once for each time it ran."""
        path = self.storage / f"{self.name}.txt"
        return path.read_text().splitlines() if path.exists() else []

    def until_it_runs(self) -> str:
        """Return the job's id once it has appended its line."""
        return until(self.lines, "the job appends its line", pause=0.002)[0]

    def listen_to(self, job_id: str) -> None:
        """Follow what the job writes for a while; fails when anything is missing or doubled."""
        heard, end = "", "".join(f"tick {n}\n" for n in range(TICKS))
        with closing(self.client.jobs.follow(job_id)) as log:
            for text in log:
                heard += text
                if len(heard) >= len(end):
                    break
        assert heard.startswith(end)

    def release(self) -> None:
        """Let the job go on to its end."""
        self.storage.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.storage / f"{self.name}.go").touch()

    def until_committed(self) -> None:
        """Return when the listener heard that the job's output is a version."""
        assert self.told.wait(PATIENCE), "nobody told of the output's version"
        assert self.heard == "committed", self.heard

    def finish(self) -> None:
        """Follow the run to its end."""
        self.run = self.client.workflows.wait(self.run)

    def deploy(self) -> None:
        """Deploy the run's model, and return when the deployment says that it runs."""
        output = self.run.outputs.get("register.model")
        assert output is not None, f"the run ended as {self.run.state}: {self.run.message}"
        spec = {
            "name": self.name, "model": output.ref, "replicas": self.replicas,
            "instance_type": INSTANCE,
        }  # fmt: skip
        self.deployment = self.client.deployments.create(self.project.id, spec)
        self.deployment = self.client.deployments.wait(self.deployment.id)

    def predict(self, chance: Random) -> tuple[list[float], list[float]]:
        """Ask for a drawn prediction; return the answer and what it should be."""
        request, right = model.question(chance)
        key = self.client.deployments.create_key(self.deployment.id, self.name).key
        answer = self.client.deployments.predict(self.deployment, key, request)
        return answer["outputs"][0]["data"], right

    def clear(self) -> None:
        """End what still runs of it."""
        if self.run is not None:
            self.release()
            self.client.workflows.cancel(self.workflow.id, self.run.number)
        if self.project is not None:
            for deployment in self.client.deployments.list(self.project.id):
                self.client.deployments.delete(deployment.id)
