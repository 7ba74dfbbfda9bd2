"""What a single-user server sees: a pure description, made into a sandbox."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nablahub.core.identity import BUCKETS, CACHE, MOUNTS
from nablahub.core.sandbox import Bind, Sandbox, base_prefixes, write_identity
from nablahub.mounts.view import BUCKETS_VARIABLE, READ, WRITE
from nablahub_spawner.jupyter import (
    BIN,
    CONFIG,
    DATA,
    DATASETS,
    KERNEL_ENVIRONMENT,
    LIB,
    kernelspec,
    mount_variables,
    package_folder,
    write_config,
)

#: Programs of the hub's environment that terminals have. Not all of it: it may contain a node,
#: which JupyterLab would ask for yarn's settings at each start.
PROGRAMS = ("nablahub", "jupyter", "uv")
#: Where homes lie inside when ``/home/<user>`` contains the hub's own environment.
HOMES_ELSEWHERE = "/homes"
#: Packages that a server or its terminals import; shown one by one when outside its environment.
PACKAGES = ("nablahub", "nablahub_spawner", "nablahub_hub", "nablahub_server")


@dataclass(frozen=True)
class Server:
    """One single-user server.

    Parameters
    ----------
    user : str
        Name of the user inside, safe as a folder's name.
    home : pathlib.Path
        Host folder of the home.
    folder : pathlib.Path
        Host folder of what belongs to this server alone: its configuration, its ``/tmp``.
    storage : pathlib.Path or None
        Host folder of ``/storage``.
    caches : mapping of str to pathlib.Path
        Host folders of the materialised dataset versions of the user's teams, by the team's id.
    environment : pathlib.Path or None
        Prefix of the Python environment of its default kernel; None for the server's own.
    env : mapping of str to str
        Environment variables.
    sandboxed : bool
        Whether it runs in a sandbox at all.
    buckets : pathlib.Path or None
        Host folder of what it sees of mounted buckets.
    own : pathlib.Path or None
        Host folder of its configuration and ``/tmp`` when the disk of ``folder`` is full.
    """

    user: str
    home: Path
    folder: Path
    storage: Path | None = None
    caches: Mapping[str, Path] = field(default_factory=dict)
    environment: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    sandboxed: bool = True
    buckets: Path | None = None
    own: Path | None = None

    @property
    def made(self) -> Path:
        """Host folder of what is made anew at each start."""
        return self.own or self.folder

    @property
    def home_inside(self) -> str:
        """The home as the server sees it.

        What is shown below the home at its own path needs a folder to be mounted on, which would
        stay in the home. So it lies elsewhere when we are installed in a real home of that name.
        """
        usual = Path("/home", self.user)
        below = any(path.is_relative_to(usual) for path in _at_own_path(self.environment))
        return f"{HOMES_ELSEWHERE}/{self.user}" if below else str(usual)


def adopt(former: Path, server: Server) -> None:
    """Take over the home that a user had under the name that earlier releases gave it."""
    if former != server.home and former.is_dir() and not server.home.exists():
        former.rename(server.home)


def prepare(server: Server) -> None:
    """Make the folders and files of a server; what is in its home already stays."""
    for folder in (server.home, server.folder, server.storage, *server.caches.values()):
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (server.folder / "datasets").mkdir(mode=0o700, exist_ok=True)
    if server.buckets is not None:
        for name in (READ, WRITE):
            (server.buckets / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("tmp", "share", "etc"):
        (server.made / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    write_config(server.made / "etc")
    kernel = server.made / "share" / "kernels" / "python3"
    if server.environment is None:
        (kernel / "kernel.json").unlink(missing_ok=True)
        return
    kernel.mkdir(parents=True, exist_ok=True)
    spec = kernelspec(f"{KERNEL_ENVIRONMENT}/bin/python", LIB)
    if not server.sandboxed:
        spec = kernelspec(str(server.environment / "bin" / "python"), str(server.made / "lib"))
        _link(server.made / "lib" / "nablahub", package_folder("nablahub"))
    (kernel / "kernel.json").write_text(json.dumps(spec))


def link_outside(server: Server) -> None:
    """Put into the home what a sandbox would show at ``/storage`` and ``/datasets``."""
    if server.storage is not None:
        _link(server.home / "storage", server.storage)
    _link(server.home / "datasets", server.folder / "datasets")


def _link(path: Path, goal: Path) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.is_symlink():
        path.unlink()
    if not path.exists():
        path.symlink_to(goal)


def sandbox(server: Server) -> Sandbox:
    """Return the sandbox of a server; :func:`prepare` makes what it shows."""
    here = server.made
    binds = [
        Bind(server.home, server.home_inside, writable=True),
        # Twice: the server makes the links itself, and nobody writes in /datasets by accident.
        Bind(server.folder / "datasets", DATASETS),
        Bind(server.folder / "datasets", MOUNTS, writable=True),
        Bind(here / "share", DATA),
        Bind(here / "etc", CONFIG),
        Bind(package_folder("nablahub"), f"{LIB}/nablahub"),
        *_outside_packages(),
        *_linked_labextensions(),
    ]
    bases: tuple[Path, ...] = ()
    if server.storage is not None:
        binds.append(Bind(server.storage, "/storage", writable=True))
    if server.buckets is not None:
        # What is mounted by FUSE comes into the first as it was mounted, writable or not.
        binds.append(Bind(server.buckets / READ, f"{BUCKETS}/{READ}"))
        binds.append(Bind(server.buckets / WRITE, f"{BUCKETS}/{WRITE}", writable=True))
    binds += [Bind(folder, f"{CACHE}/{team}") for team, folder in sorted(server.caches.items())]
    if server.environment is not None:
        binds.append(Bind(server.environment, KERNEL_ENVIRONMENT))
        bases = (server.environment,)
    return Sandbox(
        identity=write_identity(here / "identity", user=server.user, home=server.home_inside),
        binds=tuple(binds),
        prefixes=(Path(sys.prefix), *_base()),
        bases=bases,
        links={f"{BIN}/{name}": f"{sys.prefix}/bin/{name}" for name in PROGRAMS},
        env=server.env,
        chdir=server.home_inside,
        tmp=here / "tmp",
    )


def variables(server: Server) -> dict[str, str]:
    """Return the environment variables that follow from what a server sees."""
    path = [BIN, "/usr/local/bin", "/usr/bin", "/bin"]
    if server.environment is not None:
        path.insert(0, f"{KERNEL_ENVIRONMENT}/bin")
    return {
        "HOME": server.home_inside,
        "USER": server.user,
        "LOGNAME": server.user,
        "SHELL": "/bin/bash",
        "PATH": ":".join(path),
        "JUPYTER_PATH": DATA,
        "JUPYTER_CONFIG_PATH": CONFIG,
        "JUPYTER_RUNTIME_DIR": "/tmp/jupyter",  # sockets need a short path
        "JUPYTERHUB_ROOT_DIR": server.home_inside,
        **mount_variables(MOUNTS, CACHE),
        **({BUCKETS_VARIABLE: BUCKETS} if server.buckets is not None else {}),
    }


def variables_outside(server: Server) -> dict[str, str]:
    """Return the same for a server that runs without a sandbox."""
    return {
        "HOME": str(server.home),
        "USER": server.user,
        "LOGNAME": server.user,
        "SHELL": "/bin/bash",
        "JUPYTER_PATH": str(server.made / "share"),
        "JUPYTER_CONFIG_PATH": str(server.made / "etc"),
        "JUPYTER_RUNTIME_DIR": str(runtime_folder(server)),
        "JUPYTERHUB_ROOT_DIR": str(server.home),
        **mount_variables(
            str(server.folder / "datasets"),
            str(next((path.parent for path in server.caches.values()), "")),
        ),
        **({BUCKETS_VARIABLE: str(server.buckets)} if server.buckets is not None else {}),
    }


def runtime_folder(server: Server) -> Path:
    """Return a private folder with a short path: a socket's may have 107 bytes (unix(7)).

    Raises
    ------
    PermissionError
        When somebody else made one of that name before.
    """
    return _private(Path(tempfile.gettempdir()), server.folder)


def in_memory(folder: Path) -> Path:
    """Return a private folder in memory that stands for one whose disk is full."""
    return _private(_memory(), folder)


def leave_memory(folder: Path) -> None:
    """Remove what :func:`in_memory` made; nothing happens when it made nothing."""
    shutil.rmtree(_memory() / _name(folder), ignore_errors=True)


def _memory() -> Path:
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else Path(tempfile.gettempdir())


def _name(folder: Path) -> str:
    return f"nablahub-{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"


def _private(parent: Path, of: Path) -> Path:
    folder = parent / _name(of)
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} belongs to somebody else: it cannot be used for sockets.")
    folder.chmod(0o700)
    return folder


def with_env(server: Server, env: Mapping[str, str]) -> Server:
    """Return the same server with that environment."""
    return replace(server, env=dict(env))


@functools.lru_cache(maxsize=16)
def _at_own_path(environment: Path | None) -> tuple[Path, ...]:
    """What a server is shown at the path that it has on the host."""
    prefixes = [Path(sys.prefix), *_base()]
    bases = [
        base for prefix in (*prefixes, environment) if prefix for base in base_prefixes(prefix)
    ]
    return (
        *prefixes,
        *bases,
        *(b.source for b in (*_outside_packages(), *_linked_labextensions())),
    )


def _base() -> tuple[Path, ...]:
    """The interpreter's own installation, when we do not run from a virtual environment."""
    return () if sys.prefix != sys.base_prefix else (Path(sys.base_prefix),)


def _outside_packages() -> list[Bind]:
    """Show the packages of an editable installation, each by itself and not the checkout."""
    folders = [package_folder(name) for name in PACKAGES]
    return [
        Bind(folder, str(folder)) for folder in folders if not folder.is_relative_to(sys.prefix)
    ]


def _linked_labextensions() -> list[Bind]:
    """Show what links in the environment's labextensions point to (a checkout under work)."""
    root = Path(sys.prefix) / "share" / "jupyter" / "labextensions"
    links = [path for path in (*root.glob("*"), *root.glob("@*/*")) if path.is_symlink()]
    goals = {path.resolve() for path in links}
    return [Bind(goal, str(goal)) for goal in sorted(goals) if not goal.is_relative_to(sys.prefix)]
