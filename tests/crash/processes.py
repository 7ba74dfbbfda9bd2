"""What runs on this machine, read from /proc: of a job, of a deployment, of a user's server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nablahub.core.state import StateDir
from nablahub.jobs.runners import folder as files
from nablahub.jobs.runners.process import launcher, procfs

PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """A live process.

    Parameters
    ----------
    pid : int
        Its id.
    argv : list of str
        Its command line.
    environ : set of str
        Its variables, ``NAME=value``.
    """

    pid: int
    argv: list[str]
    environ: set[str]

    def runs(self, module: str) -> bool:
        """Whether it is the interpreter that runs a module, and no wrapper around that."""
        return self.argv[1:3] == ["-m", module]


def everything() -> Iterator[Process]:
    """Yield every live process that we may look into, but ourselves."""
    for entry in PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            argv = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
            environ = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # Gone meanwhile, or another user's.
        if argv:
            yield Process(int(entry.name), argv, set(environ))


def of_job(state: StateDir, job_id: str) -> list[str]:
    """Return what is alive of a job: by its command line, variables, folder and open files."""
    folder = state.jobs / job_id
    found = []
    for process in everything():
        named = any(str(folder) in word for word in process.argv)
        if named or f"NABLAHUB_JOB={job_id}" in process.environ or _holds(process.pid, folder):
            found.append(f"{process.pid} {' '.join(process.argv)[:160]}")
    return found


def _holds(pid: int, folder: Path) -> bool:
    """Whether a process has a file of a folder open, as a job's parent holds the lock."""
    inside = f"{folder}/"
    try:
        links = [*(PROC / str(pid) / "fd").iterdir(), PROC / str(pid) / "cwd"]
    except OSError:
        return False
    for link in links:
        try:
            if f"{link.readlink()}/".startswith(inside):
                return True
        except OSError:
            continue
    return False


def servers_of(deployment: str) -> list[int]:
    """Return the model servers of the deployment of that name."""
    return [
        process.pid
        for process in everything()
        if process.runs("nablahub.serving") and deployment in process.argv
    ]


def notebooks_of(hub_url: str, user: str) -> list[int]:
    """Return the single-user servers of a user of the hub that listens there itself."""
    marks = {f"JUPYTERHUB_API_URL={hub_url}/hub/api", f"JUPYTERHUB_USER={user}"}
    return [
        process.pid
        for process in everything()
        if process.runs("nablahub_spawner.singleuser") and marks <= process.environ
    ]


def keepers_of(session: str, user: str) -> list[int]:
    """Return the shells that stay above the single-user servers of a user of one hub."""
    mark = f"NABLAHUB_SERVER={session}:{user}/"
    return [
        process.pid
        for process in everything()
        if mark in process.environ and "nablahub-server" in process.argv
    ]


def parent_of(state: StateDir, job_id: str) -> int | None:
    """Return the process that started a job's sandbox and outlives all but a kill; None: none."""
    mark = files.read(state.jobs / job_id, files.STARTED)
    if mark is None or procfs.start_time(mark["pid"]) != mark["start_time"]:
        return None
    return int(mark["pid"])


def launcher_of(state: StateDir) -> int:
    """Return the process that forks the parents of jobs."""
    return int((state.run / launcher.PID).read_text())
