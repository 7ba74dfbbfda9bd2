"""How a hub behaves with many simulated nodes, notebooks and queued jobs: does it stay flat?

Simulated pods (https://kwok.sigs.k8s.io) run nothing and answer nothing. So notebooks have the
address of one stub server, by a spawner of this benchmark alone, and what a kubelet would say of a
job's end kwok says, a second after the pod runs (`kwok.yaml`): no log and no file comes out of it.
Everything else is real: hub, service, database, scheduler, API.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import perf_counter
from typing import Any

import httpx
import psutil
from kubernetes_asyncio import client

from nablahub.client import Hub
from nablahub.jobs.types import FINISHED, JobSpec
from tests.benchmarks import simulated
from tests.benchmarks.report import Row
from tests.cluster.gate import Gate, gate
from tests.cluster.hubs import cluster_hub
from tests.cluster.stands import Eyes
from tests.cluster.target import Cluster
from tests.support.hub import RunningHub

STUBBED = """
from nablahub_spawner.kubernetes.spawner import NablaKubeSpawner

class StubbedSpawner(NablaKubeSpawner):
    '''Its pods are simulated and answer nothing: all of them are said to be at one stub server.'''

    def _get_pod_url(self, pod):
        return {stub!r}

c.JupyterHub.spawner_class = StubbedSpawner
c.JupyterHub.concurrent_spawn_limit = 0
c.NablaKubeSpawner.storage_class = c.NablaKubeSpawner.team_storage_class = {storage!r}
c.Authenticator.allowed_users |= {{f"user{{number}}" for number in range({users})}}
"""
#: Seconds for everything to get through.
PATIENCE = 1500.0
LOOKS = 20
#: Milliseconds between what a pod does and its being told that nobody minds.
NEAR = 200.0
MIB = 1024**2


class _Stub(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "5")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def stub() -> Iterator[str]:
    """A server that stands for all notebooks, while the block runs."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Stub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def volumes(cluster: Cluster, count: int) -> Iterator[str]:
    """A storage class with so many volumes, which nothing ever mounts, while the block runs."""
    name = cluster.namespace

    def volume(number: int) -> client.V1PersistentVolume:
        return client.V1PersistentVolume(
            metadata=client.V1ObjectMeta(name=f"{name}-{number}", labels={"scale": name}),
            spec=client.V1PersistentVolumeSpec(
                capacity={"storage": "64Mi"}, access_modes=["ReadWriteOnce"],
                storage_class_name=name, host_path=client.V1HostPathVolumeSource(path="/tmp"),
                persistent_volume_reclaim_policy="Retain",
            ),
        )  # fmt: skip

    async def make() -> None:
        async with cluster.api() as api:
            core = client.CoreV1Api(api)
            for number in range(count):
                await core.create_persistent_volume(volume(number))

    async def remove() -> None:
        async with cluster.api() as api:
            await client.CoreV1Api(api).delete_collection_persistent_volume(
                label_selector=f"scale={name}"
            )

    asyncio.run(make())
    try:
        yield name
    finally:
        asyncio.run(remove())


def scale(cluster: Cluster, folder: Path, nodes: int, notebooks: int, jobs: int) -> list[Row]:
    """Return the rows of scale.

    Parameters
    ----------
    cluster : Cluster
        It gets simulated nodes meanwhile.
    folder : pathlib.Path
        Empty.
    nodes, notebooks, jobs : int
        How many.
    """
    there = simulated.place(cluster)
    types: dict[str, object] = {
        "many": {"cpus": 1, "memory_gib": 1, **there},
        "gpus": {"cpus": 8, "memory_gib": 16, "gpu": "A100", "gpus": simulated.GPUS, **there},
    }
    with (
        simulated.nodes(cluster, nodes),
        stub() as url,
        volumes(cluster, 2 * notebooks + 5) as storage,
        gate(cluster.kubeconfig) as way,
        Clocks(cluster) as eyes,
        Clocks(cluster, "Job") as jobs_made,
    ):
        more = STUBBED.format(stub=url, storage=storage, users=notebooks)
        config = way.kubeconfig(folder / "kubeconfig", cluster.namespace)
        with cluster_hub(
            cluster, folder, kubeconfig=config, types=types, more=more, storage_class=storage
        ) as hub:
            return [*spawned(hub, way, notebooks), *queued(hub, way, eyes, jobs_made, jobs)]


def spawned(hub: RunningHub, way: Gate, count: int) -> list[Row]:
    """Spawn so many notebooks, the first tenth apart, and see what each costs."""
    users = [f"user{number}" for number in range(count)]
    few = min(max(5, count // 10), count // 2)
    hub.api("POST", "/users", body={"usernames": users})
    memory = rss(hub, "hub")
    before = calls(way)
    first = spawn_all(hub, users[:few])
    middle = calls(way)
    rest = spawn_all(hub, users[few:])
    after = calls(way)
    grown = (rss(hub, "hub") - memory) / count
    return [
        Row(f"notebook ready, of {count}", "s", rest, first),
        Row("API calls per notebook", "calls", [(after - middle) / len(rest)],
            [(middle - before) / few], "ratio ≤ 1.1", lambda row: (row.ratio or 9) <= 1.1,
            f"the first {few}"),
        Row("hub's memory per notebook", "MiB", [grown]),
    ]  # fmt: skip


def spawn_all(hub: RunningHub, users: list[str]) -> list[float]:
    """Start servers, all at once; return the seconds until each is ready."""
    waiting, took, begun = set(users), [], perf_counter()
    headers = {"Authorization": "token token-of-the-tests"}
    base = f"{hub.url}/hub/api"
    with httpx.Client(headers=headers, timeout=120, trust_env=False) as http:

        def ask(user: str) -> None:
            answer = http.post(f"{base}/users/{user}/server", json={"instance_type": "many"})
            assert answer.status_code in (201, 202), answer.text

        in_parallel(ask, users)
        while waiting:
            assert perf_counter() < begun + PATIENCE, f"never ready: {sorted(waiting)[:5]} …"
            found = http.get(f"{base}/users", params={"state": "ready", "limit": 1000}).json()
            now = {user["name"] for user in found} & waiting
            took += [perf_counter() - begun] * len(now)
            waiting -= now
            tell(f"{len(users) - len(waiting)} of {len(users)} notebooks are ready")
            time.sleep(1)
    return took


def queued(hub: RunningHub, way: Gate, eyes: Clocks, made: Clocks, count: int) -> list[Row]:
    """Queue so many jobs of a whole node each, and see what they cost, early and late."""
    nabla = hub.client("alice")
    project = nabla.projects.create("scale").id
    heard = Heard(hub, project)
    marks = sorted({max(1, count // 10), max(1, count // 2), count})
    pages: dict[int, list[float]] = {}
    memory: dict[int, float] = {}
    sent: dict[str, float] = {}
    before, worked = calls(way), cpu(hub, "service")
    done = 0
    for mark in marks:
        begun = in_parallel(lambda _: submit(hub, project), range(done, mark), workers=4)
        sent |= dict(begun)
        done = mark
        tell(f"{mark} jobs are submitted")
        pages[mark] = [page(nabla) for _ in range(LOOKS)]
        memory[mark] = rss(hub, "service")
    heard.until(count, eyes)
    asked, worked = calls(way) - before, cpu(hub, "service") - worked
    few, many = marks[0], marks[-1]
    flat, near = "ratio ≤ 1.5", f"≤ {NEAR:g} ms, both"
    return [
        lag("submitted to its Job made", count, sent, made.at["made"], "s"),
        lag("submitted to its pod made", count, sent, eyes.at["made"], "s"),
        lag("submitted to told that it runs", count, sent, heard.at["Running"], "s"),
        lag("pod runs to told", count, eyes.at["Running"], heard.at["Running"], "ms", near),
        lag("pod ended to told", count, eyes.at["ended"], heard.at["ended"], "ms", near),
        Row("API calls per job", "calls", [asked / count], goal="≤ 8",
            met=lambda row: row.median <= 8),
        Row("service's CPU time per job", "ms", [1000 * worked / count]),
        Row(f"list page with {many} jobs", "ms", pages[many], pages[few], flat,
            lambda row: (row.ratio or 9) <= 1.5, f"with {few}"),
        Row(f"service's memory with {many} jobs", "MiB", [memory[many]], [memory[few]], flat,
            lambda row: (row.ratio or 9) <= 1.5, f"with {few}"),
    ]  # fmt: skip


def lag(
    what: str,
    count: int,
    seen: dict[str, float],
    heard: dict[str, float],
    unit: str,
    goal: str = "",
) -> Row:
    """Return the row of how long after one moment of a job another was, for the last and first.

    Not all jobs are told to run: one that has ended when it is looked at has never been seen to.
    """
    each = 1000 if unit == "ms" else 1
    known = [each * max(1e-4, heard[job] - seen[job])
             for job in sorted(heard, key=heard.__getitem__) if job in seen]  # fmt: skip
    assert known, f"{what}: known of none"
    tenth = max(1, len(known) // 10)
    return Row(
        f"{what}: last tenth of {len(known)} of {count}", unit, known[-tenth:], known[:tenth], goal,
        (lambda row: max(row.median, row.peer_median or 0) <= NEAR) if goal else None,
        "the first tenth",
    )  # fmt: skip


def submit(hub: RunningHub, project: str) -> tuple[str, float]:
    """Queue one job; return its id, and when it was sent."""
    nabla: Hub = getattr(_own, "client", None) or hub.client("alice")
    _own.client = nabla
    spec = {"project_id": project, "instance_type": "gpus", "command": ["true"]}
    begun = perf_counter()
    return nabla.jobs.submit(JobSpec.model_validate(spec)).id, begun


_own = threading.local()


def page(nabla: Hub) -> float:
    """Return how many ms the first page of jobs takes."""
    begun = perf_counter()
    nabla.transport.get("/jobs", limit=50)
    return 1000 * (perf_counter() - begun)


class Heard:
    """When the service told that each job runs, and that it has ended."""

    def __init__(self, hub: RunningHub, project: str) -> None:
        self.at: dict[str, dict[str, float]] = {"Running": {}, "ended": {}}
        self._nabla = Hub(hub.transport("alice", tries=20))
        self._project = project
        self._changed = threading.Event()
        #: Why it hears nothing any more.
        self._failed: BaseException | None = None
        #: Jobs that ended in another state than they should have.
        self._odd: dict[str, str] = {}
        threading.Thread(target=self._listen, daemon=True, name="heard").start()

    def _listen(self) -> None:
        try:
            for event in self._nabla.transport.events(project=self._project, after=0):
                told = event.data
                state = told["data"].get("state") if told["kind"] == "job" else None
                what = "ended" if state in FINISHED else state
                if what == "ended" and state != "Succeeded":
                    self._odd[told["id"]] = f"{state}: {told['data'].get('reason')}"
                if what in self.at:
                    self.at[what].setdefault(told["id"], perf_counter())
                    self._changed.set()
        except Exception as error:  # noqa: BLE001 - `until` tells of it; a thread alone tells nobody
            self._failed = error

    def until(self, count: int, eyes: Clocks) -> None:
        """Return when so many have ended, as all of them should."""
        end = perf_counter() + PATIENCE
        while (done := len(self.at["ended"])) < count:
            assert self._failed is None, f"its events ended: {self._failed!r}"
            eyes.check()
            seen = f"{done} of {count} jobs have ended, {len(eyes.at['ended'])} pods"
            assert perf_counter() < end, f"only {seen}"
            tell(seen)
            self._changed.wait(5)
            self._changed.clear()
        assert not self._odd, f"{len(self._odd)} of them not well: {list(self._odd.items())[:5]}"


class Clocks(Eyes):
    """Sees when each task's pod, or its Job, is made, and when the pod runs and ends."""

    def __init__(self, cluster: Cluster, kind: str = "Pod") -> None:
        super().__init__(cluster, kind)
        self.at: dict[str, dict[str, float]] = {"made": {}, "Running": {}, "ended": {}}

    def note(self, event: str, pod: dict[str, Any]) -> None:
        """See a change of a pod."""
        super().note(event, pod)
        if event == "BOOKMARK":  # It has no name.
            return
        task, phase = self.name_of(pod), pod.get("status", {}).get("phase", "")
        self.at["made"].setdefault(task, perf_counter())
        what = "ended" if phase in ("Succeeded", "Failed") else phase
        if what in self.at:
            self.at[what].setdefault(task, perf_counter())


def tell(words: str) -> None:
    """Say how far it has come, at most every ten seconds: some rows take many minutes."""
    if perf_counter() - _told[0] >= 10:
        _told[0] = perf_counter()
        print(f"{datetime.now(UTC):%H:%M:%S} {words}", file=sys.stderr, flush=True)


_told = [0.0]


def in_parallel(work: Any, items: Any, workers: int = 20) -> list[Any]:
    """Do a piece of work for each item."""
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(work, items))


def calls(way: Gate) -> int:
    """Return how many requests the API got, watches included."""
    return way.asked.total()


def cpu(hub: RunningHub, part: str) -> float:
    """Return how many seconds of a CPU a part of the hub has taken."""
    process: psutil.Process = hub.part(part)
    times = process.cpu_times()
    return float(times.user + times.system)


def rss(hub: RunningHub, part: str) -> float:
    """Return the memory of a part of the hub, in MiB."""
    process: psutil.Process = hub.part(part)
    return float(process.memory_info().rss / MIB)
