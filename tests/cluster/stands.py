"""A hub whose work is pods, on which work goes on while parts are killed; and eyes on all pods."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import aclosing, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx

from nablahub.client import Hub
from nablahub.core import kubenames
from nablahub.core.kubernetes import KubernetesSettings
from nablahub.core.transport import TRIES
from nablahub.jobs.runners.kubernetes.api import Api, Away, Expired
from nablahub.jobs.runners.kubernetes.names import TASK
from nablahub.jobs.types import Job, JobSpec
from tests.cluster.hubs import cluster_hub
from tests.cluster.target import Cluster
from tests.crash.harness import SPAWNED, WORKER, Stand
from tests.crash.strikes import Clock
from tests.crash.work import Phases, no_phases
from tests.support.hub import RunningHub
from tests.support.waiting import PATIENCE, until

TYPES: dict[str, object] = {"C3": {"cpus": 1, "memory_gib": 0.5}}
#: What a job says, a tick each tenth of a second, before it leaves its dataset.
TICKS = 20
SCRIPT = f"""\
n=0
while [ $n -lt {TICKS} ]; do echo "tick $n"; n=$((n + 1)); sleep 0.1; done
echo "$NABLAHUB_JOB" > /outputs/made/job
"""
SAID = "".join(f"tick {n}\n" for n in range(TICKS))


class Eyes:
    """Sees every pod, or all of another kind, there ever is in a namespace, in a thread."""

    def __init__(self, cluster: Cluster, kind: str = "Pod") -> None:
        self._kind = kind
        self._settings = KubernetesSettings(
            kubeconfig=cluster.kubeconfig, namespace=cluster.namespace
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="eyes", daemon=True)
        #: The uids of the pods that there were, by their task, or by their name.
        self.seen: dict[str, set[str]] = defaultdict(set)
        #: The pods that there are.
        self.there: dict[str, str] = {}
        self._synced = threading.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.begin(), self._loop).result(30)
        assert self._synced.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(30)
        self._loop.close()

    async def begin(self) -> None:
        """See, from now on."""
        self._task = asyncio.create_task(self._watch())

    async def end(self) -> None:
        """See no more."""
        self._task.cancel()
        (ended,) = await asyncio.gather(self._task, return_exceptions=True)
        if isinstance(ended, Exception):
            raise ended

    def check(self) -> None:
        """Fail when it sees nothing any more."""
        assert not self._task.done(), f"the watch has ended: {self._task!r}"

    async def _watch(self) -> None:
        api = Api(self._settings)
        await api.connect()
        try:
            while True:
                with suppress(Expired, *Away):
                    pods, version = await api.list(self._kind, "")
                    self.there = {}
                    for pod in pods:
                        self.note("ADDED", pod)
                    self._synced.set()
                    async with aclosing(api.watch(self._kind, "", version)) as changes:
                        async for event, pod in changes:
                            self.note(event, pod)
        finally:
            await api.close()

    def note(self, event: str, pod: dict[str, Any]) -> None:
        """See a change of a pod."""
        if event == "BOOKMARK":
            return
        meta = pod["metadata"]
        name = self.name_of(pod)
        self.seen[name].add(meta["uid"])
        if event == "DELETED":
            self.there.pop(meta["uid"], None)
        else:
            self.there[meta["uid"]] = name

    @staticmethod
    def name_of(pod: dict[str, Any]) -> str:
        """The task of a pod, else its own name."""
        meta = pod["metadata"]
        return str(meta.get("annotations", {}).get(TASK) or meta["name"])


@dataclass
class PodWork:
    """A server and a job, phase by phase.

    Parameters
    ----------
    stand : PodStand
        Where.
    name : str
        Unique.
    phase : callable
        Told of each phase.
    """

    stand: PodStand
    name: str
    phase: Phases = no_phases
    job: Job | None = None

    def server(self) -> None:
        """Start a user's server and stop it again."""
        with self.phase("spawn"):
            self.stand.parts.start_server()
        self.stand.spawned_once()
        with self.phase("stopping"):
            self.stand.stop_server()

    def run(self) -> None:
        """Submit a job and see it through to its dataset."""
        client = self.stand.client
        with self.phase("starting"):
            spec = {
                "project_id": self.stand.project, "name": self.name, "instance_type": "C3",
                "command": ["sh", "-ec", SCRIPT],
                "outputs": [{"name": "made", "kind": "dataset", "ref": self.name}],
            }  # fmt: skip
            self.job = client.jobs.submit(JobSpec.model_validate(spec))
            self._listen("tick 0\n")
        with self.phase("running"):
            self._listen(SAID)
        with self.phase("output"):
            self.job = client.jobs.wait(self.job.id)

    def _listen(self, end: str) -> None:
        """Follow what the job writes from its beginning, to some words."""
        assert self.job is not None
        heard = ""
        with closing(self.stand.client.jobs.follow(self.job.id)) as log:
            for text in log:
                heard += text
                if len(heard) >= len(end):
                    break
        assert heard.startswith(end), heard


@dataclass
class PodStand:
    """The hub, and what is to be seen of its work.

    Parameters
    ----------
    cluster : Cluster
        Where pods run.
    parts : tests.crash.harness.Stand
        Deals blows to the hub's parts.
    eyes : Eyes
        See all pods.
    """

    cluster: Cluster
    parts: Stand
    eyes: Eyes
    clock: Clock = field(default_factory=Clock)
    project: str = ""

    def __post_init__(self) -> None:
        self.client: Hub = self.parts.client(tries=2 * TRIES)
        self.project = self.client.projects.create(f"work-{secrets.token_hex(3)}").id

    @property
    def hub(self) -> RunningHub:
        """The hub."""
        return self.parts.hub

    def work(self, name: str, phase: Phases = no_phases) -> PodWork:
        """Return a new piece of work."""
        return PodWork(self, f"{name}-{secrets.token_hex(3)}", phase)

    # What must be so.

    def run_done_once(self, work: PodWork) -> None:
        """Fail unless the job succeeded, ran in one pod, once, and left nothing but its record."""
        job = work.job
        assert job is not None
        assert (job.state, job.exit_code) == ("Succeeded", 0), f"{job.reason}: {job.message}"
        assert self.client.jobs.log(job.id) == SAID
        assert len(self.eyes.seen[job.id]) == 1, "it had more than one pod"
        found = [j.id for j in self.client.jobs.list(project=self.project) if j.name == work.name]
        assert found == [job.id]
        made = [d for d in self.client.datasets.list() if d.name == work.name]
        assert len(made) == 1
        (version,) = self.client.datasets.versions(made[0].id)
        assert version.id == job.outputs["made"].ref
        assert self.client.datasets.read(version.id, "job").decode().strip() == job.id
        until(lambda: job.id not in self.eyes.there.values(), "its pod is gone", pause=0.05)

    def spawned_once(self) -> None:
        """Fail unless one pod of the user's server is there, and answers."""
        answer = self.hub.spawn(SPAWNED).until_answers()
        assert answer.status_code == 200, f"{answer} {answer.headers} {answer.text}"
        assert self._server_pods() == 1

    def _server_pods(self) -> int:
        name = kubenames.server("nablahub", SPAWNED, "")
        return list(self.eyes.there.values()).count(name)

    def stop_server(self) -> None:
        """Stop that server as a patient client does, and return when its pod is gone."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(httpx.TransportError, ValueError, KeyError):
                self.hub.api("DELETE", f"/users/{SPAWNED}/server")
                if not self.hub.api("GET", f"/users/{SPAWNED}").json()["servers"]:
                    break
            time.sleep(0.1)
        until(lambda: self._server_pods() == 0, "the stopped server's pod is gone", pause=0.05)


@contextmanager
def standing(cluster: Cluster, **more: Any) -> Iterator[PodStand]:
    """A stand, on which each piece of work was done once without any disturbance."""
    with tempfile.TemporaryDirectory(prefix="nablahub-pods-") as name:
        folder = Path(name)
        with cluster_hub(cluster, folder, types=TYPES, **more) as hub, Eyes(cluster) as eyes:
            (folder / "files").mkdir()
            made = PodStand(cluster, Stand(hub, folder / "files"), eyes)
            assert WORKER != SPAWNED
            work = made.work("calm", made.clock.phase)
            work.server()
            work.run()
            made.run_done_once(work)
            yield made
