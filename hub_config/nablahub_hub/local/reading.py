"""What a ``jupyterhub_config.py`` asks of a NablaHub, known before the hub itself is started.

The file is run as the hub will run it, up to its call of ``install(c)``, in a process of its own:
what it imports, prints and changes is no business of the supervisor.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traitlets.config import Config
from traitlets.config.loader import PyFileConfigLoader

import nablahub_hub
from nablahub.core.errors import NablaError
from nablahub_hub.settings import BadSetting, NablaHub, overrule


class BadConfiguration(NablaError):
    """The user's own ``jupyterhub_config.py`` cannot be used."""

    code = "bad_configuration"
    title = "The configuration cannot be used"


class Installed(BaseException):
    """Ends a configuration file at its ``install(c)``; no ``except Exception`` there stops it."""

    def __init__(self, settings: NablaHub) -> None:
        super().__init__()
        self.settings = settings


async def read(
    own: Path | None, flags: Mapping[str, Any], *, cwd: Path, env: Mapping[str, str]
) -> NablaHub:
    """Return the settings of a hub that is about to be started.

    Parameters
    ----------
    own : pathlib.Path or None
        The user's ``jupyterhub_config.py``; None when there is none.
    flags : mapping of str to JSON
        Settings that win over those of the file.
    cwd, env : pathlib.Path and mapping of str to str
        Working folder and environment of the hub.

    Raises
    ------
    BadConfiguration
        The file fails, or never calls ``install(c)``.
    BadSetting
        A setting has a value that it cannot have.
    """
    if own is None:
        return NablaHub.read(Config({"NablaHub": dict(flags)}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "nablahub_hub.local.reading", str(own.absolute())),
        json.dumps(dict(flags)),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        out, said = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        last = said.decode(errors="replace").strip().splitlines()[-1:]
        raise BadConfiguration(
            " ".join([f"{own} ended the hub (status {process.returncode}).", *last])
        )
    told = json.loads(out)
    if "error" in told:
        kind = BadSetting if told["code"] == BadSetting.code else BadConfiguration
        raise kind(told["error"], hint=told["hint"])
    return NablaHub(config=Config({"NablaHub": told["settings"]}))


def settings_of(own: Path) -> NablaHub:
    """Run a configuration file as far as its ``install(c)``, and return what it set until then.

    It changes this process: only for one that does nothing else.

    Raises
    ------
    BadConfiguration, BadSetting
        As :func:`read`.
    """

    def stop(c: Config) -> None:
        raise Installed(NablaHub.read(c))

    vars(nablahub_hub)["install"] = stop
    try:
        PyFileConfigLoader(own.name, str(own.parent)).load_config()
    except Installed as end:
        return end.settings
    except BadSetting as error:
        raise BadSetting(f"{_place(own, error)}: {error.detail}", hint=error.hint) from error
    except Exception as error:  # whatever a program of the user's can raise
        what = traceback.format_exception_only(error)[-1].strip()
        raise BadConfiguration(f"{_place(own, error)}: {what}") from error
    raise BadConfiguration(
        f"{own} does not call nablahub_hub.install(c), so its hub is no NablaHub.",
        hint="Its last lines must be `import nablahub_hub` and `nablahub_hub.install(c)`.",
    )


def _place(own: Path, error: Exception) -> str:
    """Return the file and the line in it that led to an error."""
    if isinstance(error, SyntaxError) and error.filename == str(own):
        return f"{own}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(own)]
    return f"{own}, line {lines[-1]}" if lines else str(own)


def main() -> None:
    """Write the settings of the file named first, with the flags named second, to stdout."""
    told = os.dup(1)
    os.dup2(2, 1)  # what the file prints is not the answer
    overrule(**json.loads(sys.argv[2]))
    answer: dict[str, Any]
    try:
        settings = settings_of(Path(sys.argv[1]))
        answer = {"settings": {n: getattr(settings, n) for n in settings.trait_names(config=True)}}
    except NablaError as error:
        answer = {"error": error.detail, "code": error.code, "hint": error.hint}
    with os.fdopen(told, "w") as out:
        json.dump(answer, out)


if __name__ == "__main__":
    # The one module, whose name `read` knows the errors by; this one is called `__main__`.
    from nablahub_hub.local import reading

    reading.main()
