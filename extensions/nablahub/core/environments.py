"""Python environments by name: what jobs, notebooks and model servers run in.

Each is a virtual environment that uv builds from a lock file in `locks/` beside this module, so
what data scientists need never binds what the hub runs on. A folder is named after the content of
its lock and the interpreter, and is complete when it is there: it is built under another name and
then renamed, so a kill at any moment leaves all of it or nothing that counts. They are relocatable:
inside a sandbox they may be seen at another path.

`python -m nablahub.core.environments build NAME…` builds, `… lock` renews the lock files.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nablahub.core.errors import Fault, Invalid, StorageFull, Unavailable

LOCKS = Path(__file__).parent / "locks"
_COMPLETE = "nablahub-environment.json"
#: How long a build takes, roughly: most of it goes to the network.
TAKES = "about a minute"
_FORM = "1"  # Part of the folder's name: raise it when the way of building changes.

Progress = Callable[[str, int, int], None]
"""Called with what is done now, the steps done, and how many there are."""


@dataclass(frozen=True)
class Entry:
    """One line of the table of environments.

    Parameters
    ----------
    name
        Its own name, and its lock file's.
    summary
        What it is for, in one sentence.
    aliases
        Images of Gradient's that it answers to.
    jobs
        Whether a job may name it; the others are tools of ours.
    """

    name: str
    summary: str
    aliases: tuple[str, ...] = ()
    jobs: bool = True


_PYTHON = f"python:{sys.version_info.major}.{sys.version_info.minor}"
TABLE: Mapping[str, Entry] = {
    entry.name: entry
    for entry in (
        Entry(
            "default",
            "Data science: numpy, pandas, scikit-learn, ONNX, matplotlib, a notebook kernel.",
            ("python", "python:3", _PYTHON, "bash", "bash:5"),
        ),
        Entry("serving", "Model servers: onnxruntime and scikit-learn behind a fast HTTP server."),
        Entry("runner", "Runs notebooks from outside their own environment.", jobs=False),
    )
}


@dataclass(frozen=True)
class Environment:
    """An environment that is built.

    Parameters
    ----------
    name
        Its name in the table.
    prefix
        Its folder.
    python
        Its interpreter.
    """

    name: str
    prefix: Path
    python: Path


class UnknownEnvironment(Invalid):
    """No environment answers to the name."""

    code = "unknown_environment"

    def __init__(
        self, asked: str, *, pointer: str = "/environment", images: Collection[str] | None = None
    ) -> None:
        if images is None:
            hint = f"Known: {', '.join(names())}."
        else:
            jobs = sorted(name for name in images if name not in TABLE or TABLE[name].jobs)
            hint = (
                f"Known: {', '.join(jobs)}. An administrator gives further images a name: "
                'c.NablaHub.kubernetes["images"], in the chart jobs.images.'
            )
        super().__init__(
            f"There is no environment {asked!r} here.",
            errors=[Fault("Unknown environment or image.", pointer, hint=hint)],
        )


class EnvironmentBuildFailed(Unavailable):
    """uv could not build an environment."""

    code = "environment_build_failed"


def resolve(asked: str) -> str | None:
    """The name of the environment that answers to a name or to an image's name; None: none does."""
    for entry in TABLE.values():
        if entry.jobs and (asked == entry.name or asked in entry.aliases):
            return entry.name
    return None


def names() -> list[str]:
    """What a job may name: environments, and the images they answer to."""
    found: list[str] = []
    for entry in TABLE.values():
        if entry.jobs:
            found += [entry.name, *entry.aliases]
    return found


def packages(name: str) -> dict[str, str]:
    """The packages of an environment's lock with their versions; KeyError when there is no lock."""
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", _lock(name), re.MULTILINE))


def has_kernel(name: str) -> bool:
    """Whether notebooks can run in the environment."""
    return "ipykernel" in packages(name)


class Environments:
    """The environments built in one folder.

    Parameters
    ----------
    folder
        Where they lie; made when the first is built. Several hubs may share one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str) -> Environment | None:
        """The environment if it is built already, at the cost of one look at the disk."""
        prefix = self.folder / folder_name(name)
        if not (prefix / _COMPLETE).is_file():
            return None
        return Environment(name, prefix, prefix / "bin" / "python")

    def building(self) -> list[str]:
        """The names of those that somebody, this process or another, builds just now."""
        return [name for name in TABLE if _is_locked(self._lock_file(name))]

    def _lock_file(self, name: str) -> Path:
        return self.folder / f".{folder_name(name)}.lock"

    def ensure(self, name: str, progress: Progress | None = None) -> Environment:
        """The environment, built first when it is not there; blocks, for a minute perhaps.

        Raises
        ------
        KeyError
            `name` is not in the table.
        EnvironmentBuildFailed
            uv is missing, the package index does not answer, or a package cannot be had.
        StorageFull
            The disk is full.
        """
        found = self.find(name)
        if found is not None:
            return found
        self.folder.mkdir(parents=True, exist_ok=True)
        with _locked(self._lock_file(name)):
            found = self.find(name)
            if found is None:
                self._build(name, progress or _silent)
                found = self.find(name)
        if found is None:
            raise EnvironmentBuildFailed(f"The environment {name!r} vanished while it was built.")
        return found

    def _build(self, name: str, progress: Progress) -> None:
        target = self.folder / folder_name(name)
        staging = self.folder / f".building-{target.name}"
        for leftover in (staging, target):  # Of a build that was killed, or half removed.
            if leftover.exists():
                shutil.rmtree(leftover)
        try:
            progress(f"Making the environment {name}", 0, 3)
            _uv("venv", "--relocatable", "--python", _python(), str(staging), name=name)
            count = len(packages(name))
            progress(f"Fetching and installing {count} packages for {name}, for {TAKES}", 1, 3)
            _uv(
                *("pip", "install", "--python", str(staging / "bin" / "python")),
                *("--require-hashes", "--compile-bytecode", "-r", str(_lock_path(name))),
                name=name,
            )
            progress(f"Finishing {name}", 2, 3)
            complete = {"name": name, "python": platform.python_version()}
            (staging / _COMPLETE).write_text(json.dumps(complete))
            staging.rename(target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        progress(f"The environment {name} is ready", 3, 3)


def folder_name(name: str) -> str:
    """The folder of an environment: its name and a hash of all that decides its content."""
    return _folder_name(name, _lock_path(name).stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _folder_name(name: str, _changed: int) -> str:
    content = "\0".join((_FORM, platform.python_version(), platform.machine(), _python()))
    digest = hashlib.sha256(content.encode() + _lock_path(name).read_bytes())
    return f"{name}-{digest.hexdigest()[:12]}"


def _lock_path(name: str) -> Path:
    if name not in TABLE:
        raise KeyError(name)
    return LOCKS / f"{name}.txt"


def _lock(name: str) -> str:
    return _lock_path(name).read_text(encoding="utf-8")


def _python() -> str:
    """The interpreter that environments are based on: the installation under our own one."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for name in (f"python{version}", "python3", "python"):
        path = Path(sys.base_prefix, "bin", name)
        if path.exists():
            return str(path)
    return sys.executable


def _uv_program() -> str:
    beside = Path(sys.prefix, "bin", "uv")
    found = str(beside) if beside.exists() else shutil.which("uv")
    if found is None:
        raise EnvironmentBuildFailed(
            "The program uv, which builds environments, is not installed.",
            hint="Install the package with its extra: pip install 'nablahub[hub]'.",
        )
    return found


def _uv(*arguments: str, name: str) -> None:
    # What the caller's own project or environment says must not decide what is built.
    env = {k: v for k, v in os.environ.items() if k not in _MISLEADING}
    command = [_uv_program(), *arguments, "--no-config", "--quiet"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, cwd="/")
    if done.returncode == 0:
        return
    said = [line.strip(" │├╰─▶×") for line in done.stderr.splitlines()]
    words = " ".join(line for line in said if line)[-800:] or "it said nothing"
    if "No space left on device" in done.stderr:
        raise StorageFull(
            f"The disk is full: the environment {name!r} could not be built.",
            hint="Free some space, or set NABLAHUB_ENVIRONMENTS_DIR to a folder on another disk.",
        )
    raise EnvironmentBuildFailed(
        f"The environment {name!r} could not be built: {words}.",
        hint="It is fetched from the Python package index: check the network, or set "
        "UV_DEFAULT_INDEX to an index that can be reached, and try again.",
    )


_MISLEADING = frozenset({"VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONPATH", "PYTHONHOME"})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _silent(_text: str, _done: int, _total: int) -> None:
    return None


def relock() -> None:
    """Renew the lock files from the lists beside them (for developers)."""
    for name in TABLE:
        _uv(
            *("pip", "compile", "--universal", "--python-version", "3.12", "--generate-hashes"),
            *("--upgrade", "--no-annotate", "--custom-compile-command"),
            *("python -m nablahub.core.environments lock", str(LOCKS / f"{name}.in")),
            *("-o", str(LOCKS / f"{name}.txt")),
            name=name,
        )


def main(arguments: list[str]) -> int:
    """Run the small command line of this module and return its exit code."""
    match arguments:
        case ["lock"]:
            relock()
        case ["build", folder, *wanted]:
            environments = Environments(Path(folder).absolute())
            for name in wanted or TABLE:
                environments.ensure(name, lambda text, *_: _say(text))
        case _:
            _say("usage: python -m nablahub.core.environments build FOLDER [NAME…] | lock")
            return 2
    return 0


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
