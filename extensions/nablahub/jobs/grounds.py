"""Where jobs run: the one place that knows which runner it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from nablahub.core import sandbox
from nablahub.core.instances import CATALOGUE, Gpu, InstanceType, Machine
from nablahub.core.settings import Settings
from nablahub.jobs.layout import LocalLayout
from nablahub.jobs.runners.contract import Runner
from nablahub.jobs.runners.process import procfs
from nablahub.jobs.runners.process.runner import ProcessRunner
from nablahub.jobs.runners.receiving import Receiving
from nablahub.jobs.runners.volumes import LocalVolumes, Volumes


@dataclass(frozen=True)
class Ground:
    """What jobs run on.

    Parameters
    ----------
    runner : Runner
        Starts them.
    machine : Machine
        What there is for all of them together.
    boot : str
        What a task that has begun does not outlive: another one means that it is gone.
    missing : str or None
        Why no job can run here.
    images : frozenset of str or None
        The environments there are; None for all of the table, which are built when needed.
    endless : bool
        Whether the machine stands for a cluster, which decides by itself what fits and when.
    receiving : Receiving or None
        Who takes in what tasks on other machines send.
    volumes : Volumes
        What the steps of runs hand on.
    several : bool
        Whether one job of the kind `serve` can be several servers behind one address.
    lacking : callable or None
        Where the machine stands for a cluster: tells of instance types why no node can ever run
        their jobs, by name.
    """

    runner: Runner
    machine: Machine
    boot: str
    volumes: Volumes
    missing: str | None = None
    images: frozenset[str] | None = None
    endless: bool = False
    receiving: Receiving | None = None
    several: bool = False
    lacking: Callable[[Iterable[InstanceType]], Awaitable[Mapping[str, str]]] | None = None


def choose(settings: Settings, layout: LocalLayout) -> Ground:
    """Return what the settings say that jobs run on."""
    return _cluster(settings, layout) if settings.runner == "kubernetes" else _own(settings, layout)


def _own(settings: Settings, layout: LocalLayout) -> Ground:
    missing = sandbox.probe()
    # Who accepts to go without a sandbox still has one where one can be made.
    bare = settings.unsandboxed and missing is not None
    return Ground(
        runner=ProcessRunner(
            settings.state.jobs, settings.state.run, layout, unsandboxed=bare
        ),
        machine=Machine.detect(),
        boot=procfs.boot_id(),
        volumes=LocalVolumes(settings.state.volumes),
        missing=None if settings.unsandboxed else missing,
    )  # fmt: skip


def _cluster(settings: Settings, layout: LocalLayout) -> Ground:
    # Here and not above: the extra [kubernetes] is installed where it is chosen.
    from nablahub.jobs.runners.kubernetes.runner import KubernetesRunner

    runner = KubernetesRunner(
        settings.state.jobs, settings.kubernetes, settings.jobs_url, layout, settings.min_free_bytes
    )
    return Ground(
        runner=runner,
        machine=_endless(),
        boot=f"cluster:{settings.kubernetes.hub}",
        volumes=runner.volumes,
        images=frozenset({"default", *settings.kubernetes.images}),
        endless=True,
        several=True,
        lacking=runner.room.lacking,
        receiving=runner.receiving,
    )


def _endless() -> Machine:
    """A machine on which every instance type fits any number of times: the cluster queues."""
    gpus = tuple(
        Gpu(kind.gpu, kind.gpu_memory_gib)
        for kind in CATALOGUE.values()
        if kind.gpu is not None
        for _ in range(kind.gpus)
    )
    return Machine(cpus=1 << 30, memory_gib=float(1 << 40), gpus=gpus)
