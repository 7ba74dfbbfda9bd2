"""From a `TaskSpec` to what the shim starts: here, and only here, mounts become host paths."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from nablahub.core.sandbox import HOME, Bind, Sandbox
from nablahub.jobs.runners.contract import (
    ARTIFACTS,
    CONTROL,
    DATASETS,
    ENVIRONMENT,
    INPUTS,
    LIBRARY,
    OUTPUTS,
    PROGRAMS,
    STORAGE,
    TOOLS,
    WORK,
    Mount,
    TaskRefused,
    TaskSpec,
)
from nablahub.jobs.runners.remove import remove_tree
from nablahub.jobs.runners.variables import variables

_SESSION = "NABLAHUB_SESSION"
#: Of a name that never will be a file's: too long, or below another file, or a folder's.
_BAD_NAME = frozenset({errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG})


class Layout(Protocol):
    """Knows where on this machine things lie; called in a thread, may block."""

    def source(self, task: TaskSpec, mount: Mount) -> Path:
        """The host path of a dataset, model, volume or storage mount, made ready to be bound."""

    def lay(self, mount: Mount, target: Path) -> None:
        """Make a folder that is not there yet be a copy of a workspace."""

    def environment(self, name: str) -> Path:
        """The prefix of a Python environment, built already; TaskRefused when there is none."""


@dataclass(frozen=True)
class Launcher:
    """Makes the content of `launch.json`.

    Parameters
    ----------
    layout
        Where things lie.
    identity
        The folder of `sandbox.write_identity`.
    library
        The folder of the package `nablahub`; its code is seen read-only in `/opt/nablahub/lib`.
    programs
        A folder with the programs that every task has besides the system's.
    unsandboxed
        Run commands without bubblewrap, knowingly: they then see the machine as it is, and find
        what is mounted through the variables NABLAHUB_INPUTS, NABLAHUB_OUTPUTS and so on.
    """

    layout: Layout
    identity: Path
    library: Path
    programs: Path
    unsandboxed: bool = False

    def prepare(self, task: TaskSpec, folder: Path, cpus: list[int] | None) -> dict[str, Any]:
        """Lay out the task's folder and return what the shim needs; safe to repeat.

        Raises
        ------
        TaskRefused
            A mount or environment does not exist, or a file's name leaves the working folder.
        """
        if task.nodes > 1:
            raise TaskRefused(f"This is one machine: {task.nodes} nodes need a cluster.")
        binds = self._own(task, folder)
        for mount in task.mounts:
            if mount.kind == "workspace":
                continue  # Its copy is the working folder itself.
            binds.append(Bind(self._source(task, mount, folder), mount.path, mount.mode == "rw"))
        prefixes = self._prefixes(task)
        for path, prefix in prefixes.items():
            binds.append(Bind(prefix, path))
        binds.append(Bind(self.library, f"{LIBRARY}/nablahub"))
        binds.append(Bind(self.programs, PROGRAMS))
        common = {
            "cpus": cpus,
            "memory": task.resources.memory_bytes,
            "timeout": task.timeout_seconds,
            "grace": task.grace_seconds,
            "port": task.kind == "serve",
            "sandboxed": not self.unsandboxed,
        }
        if self.unsandboxed:
            return common | _bare(task, folder, binds)
        sandbox = Sandbox(
            identity=self.identity,
            binds=tuple(binds),
            bases=tuple(prefixes.values()),
            env=variables(task),
            chdir=WORK,
            tmp=folder / "tmp",
            shm_bytes=task.resources.memory_bytes,
            devices=tuple(sorted(Path("/dev").glob("nvidia*"))) if task.resources.gpus else (),
        )
        argv = sandbox.argv(task.command)
        return common | {"argv": argv, "env": sandbox.environ(), "cwd": None}

    def _own(self, task: TaskSpec, folder: Path) -> list[Bind]:
        """Make the folders that every task has, and lay its files into the working folder."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for mount in task.mounts:
            if mount.kind == "workspace" and not (folder / "work").exists():
                new = folder / ".work.new"
                remove_tree(new)
                self.layout.lay(mount, new)
                new.rename(folder / "work")
        for name in ("work", "home", "tmp", "artifacts", "control"):
            (folder / name).mkdir(mode=0o700, exist_ok=True)
        work = folder / "work"
        for name, text in task.files.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                raise TaskRefused(f"The file name {name!r} leads out of the job's working folder.")
            target = work / path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_text(text, encoding="utf-8")
            except OSError as error:
                if error.errno not in _BAD_NAME:
                    raise
                words = f"The file {name!r} cannot be laid into /work: {error.strerror}."
                raise TaskRefused(words) from error
        return [
            Bind(work, WORK, True),
            Bind(folder / "home", HOME, True),
            Bind(folder / "artifacts", ARTIFACTS, True),
            Bind(folder / "control", CONTROL, True),
        ]

    def _source(self, task: TaskSpec, mount: Mount, folder: Path) -> Path:
        name = mount.path.strip("/").replace("/", ".")
        if mount.kind == "string":
            path = folder / "strings" / name
            path.parent.mkdir(mode=0o700, exist_ok=True)
            path.write_text(mount.ref, encoding="utf-8")
            return path
        if mount.kind == "output":
            return _made(output_folder(folder, mount.ref))
        if mount.kind == "own":
            return _made(folder / "own" / name)
        path = self.layout.source(task, mount)
        if not path.exists():
            raise TaskRefused(f"The {mount.kind} {mount.ref!r} for {mount.path} is not there.")
        return path

    def _prefixes(self, task: TaskSpec) -> dict[str, Path]:
        found = {f"{TOOLS}/{name}": self.layout.environment(name) for name in task.tools}
        if task.environment is not None:
            found[ENVIRONMENT] = self.layout.environment(task.environment)
        return found


def write_programs(folder: Path) -> Path:
    """Write the programs that every task finds in its PATH, and return the folder."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    command = folder / "nablahub"
    if not command.exists():
        command.write_text('#!/bin/sh\nexec python -m nablahub "$@"\n')
        command.chmod(0o755)
    return folder


def output_folder(folder: Path, name: str) -> Path:
    """Where a task's output of that name is collected."""
    return folder / "outputs" / name


def _made(path: Path) -> Path:
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def _bare(task: TaskSpec, folder: Path, binds: list[Bind]) -> dict[str, Any]:
    """The task without a sandbox: what would be mounted is linked below one folder."""
    root = folder / "root"
    for bind in binds:
        link = root / bind.target.lstrip("/")
        link.parent.mkdir(parents=True, exist_ok=True)
        if link.exists() and link.samefile(bind.source):
            continue  # Already seen through a link higher up, as an output below /outputs is.
        remove_tree(link)
        link.symlink_to(bind.source)
    for path in (INPUTS, OUTPUTS):
        (root / path.lstrip("/")).mkdir(parents=True, exist_ok=True)
    env = {name: _outside(value, root) for name, value in variables(task).items()}
    env |= {"HOME": str(folder / "home"), "TMPDIR": str(folder / "tmp")}
    # By this what is left of it is found. A sandbox ends with its parent; code inside could use the
    # mark to pass for a part of the hub.
    if _SESSION in os.environ:
        env[_SESSION] = os.environ[_SESSION]
    with (folder / "log").open("a", encoding="utf-8") as log:
        log.write(
            "nablahub: this job runs without a sandbox: /inputs, /outputs and /storage do not "
            "exist; use $NABLAHUB_INPUTS, $NABLAHUB_OUTPUTS and $NABLAHUB_STORAGE.\n"
        )
    argv = [_outside(word, root) for word in task.command]
    program = shutil.which(argv[0], path=env["PATH"]) or argv[0]
    return {"argv": [program, *argv[1:]], "env": env, "cwd": str(folder / "work")}


_SEEN = (DATASETS, INPUTS, OUTPUTS, STORAGE, ARTIFACTS, CONTROL, WORK, "/opt/nablahub")


def _outside(text: str, root: Path) -> str:
    """A word that is a path, or a list of paths, of the inside, as it is called outside."""
    return ":".join(
        f"{root}{part}" if any(part == s or part.startswith(f"{s}/") for s in _SEEN) else part
        for part in text.split(":")
    )


def least_used(wanted: int | None, used: Mapping[str, list[int]]) -> list[int] | None:
    """The CPUs for a task: those that the fewest others were given; None for all."""
    have = sorted(os.sched_getaffinity(0))
    if wanted is None or wanted >= len(have):
        return None
    load = dict.fromkeys(have, 0)
    for cpus in used.values():
        for cpu in cpus:
            if cpu in load:
                load[cpu] += 1
    return sorted(sorted(have, key=lambda cpu: (load[cpu], cpu))[:wanted])
