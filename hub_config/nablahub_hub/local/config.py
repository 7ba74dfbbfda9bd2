"""What is chosen once for a hub on one machine: ports, owner, secrets."""

from __future__ import annotations

import json
import os
import pwd
import secrets as random
import socket
import uuid
from collections.abc import Callable
from pathlib import Path

import bcrypt
from pydantic import BaseModel, ConfigDict

from nablahub.core.errors import NablaError
from nablahub.core.state import StateDir
from nablahub.jobs.runners.process.ports import free_port

HOST = "127.0.0.1"
#: All addresses of this machine.
ANY = "0.0.0.0"
DEFAULT_PORT = 8000
#: Next free port is looked for among this many.
PORT_RANGE = 100


class PortTaken(NablaError):
    """A port that was asked for belongs to another program."""

    code = "port_taken"
    title = "The port is taken"


class LocalConfig(BaseModel):
    """``config.json`` of the state directory.

    Parameters
    ----------
    session : str
        Marks every process of this state directory (environment ``NABLAHUB_SESSION``).
    owner : str
        The operating system's user, who is the hub's only one and its administrator.
    port : int
        The public port; the other ports are internal.
    hub_host, service_host : str
        Addresses that hub and service listen on; everything else listens on the loopback address.
    """

    model_config = ConfigDict(extra="ignore")

    session: str
    owner: str
    port: int
    hub_port: int
    traefik_port: int
    service_port: int
    hub_host: str = HOST
    service_host: str = HOST

    @property
    def proxy_url(self) -> str:
        """Where Traefik listens: what people type where no web server stands in front of it."""
        return f"http://{HOST}:{self.port}"

    @property
    def hub_url(self) -> str:
        """Where the hub itself listens; single-user servers call it there."""
        return f"http://{self.hub_host}:{self.hub_port}"

    @property
    def for_pods(self) -> dict[str, tuple[str, int]]:
        """Addresses and ports that pods come to, by what listens there."""
        return {
            "hub": (self.hub_host, self.hub_port),
            "service": (self.service_host, self.service_port),
        }

    @property
    def traefik_url(self) -> str:
        """Traefik's API, behind its password."""
        return f"http://{HOST}:{self.traefik_port}"

    @property
    def service_url(self) -> str:
        """Where the hub service itself listens."""
        host = HOST if self.service_host == ANY else self.service_host
        return f"http://{host}:{self.service_port}"

    @classmethod
    def load(cls, state: StateDir) -> LocalConfig | None:
        """Read it; None when this state directory has none yet."""
        try:
            return cls.model_validate_json(state.config.read_text())
        except FileNotFoundError:
            return None

    def save(self, state: StateDir) -> None:
        """Write it whole or not at all."""
        write_private(state.config, json.dumps(self.model_dump(), indent=1) + "\n")


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{random.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def owner_name() -> str:
    """Return the operating system's user, as JupyterHub writes names."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a user id without an account, usual in containers
        name = f"user{os.getuid()}"
    return name.lower()


def is_free(port: int, host: str = HOST) -> bool:
    """Whether nobody listens on that port of an address, the loopback's if none is named."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_ports(count: int, host: str = HOST) -> list[int]:
    """Return distinct ports that are free now at an address."""
    found: set[int] = set()
    while len(found) < count:
        found.add(free_port(host))
    return list(found)


def choose(
    state: StateDir,
    *,
    port: int | None,
    next_free: bool,
    ours: Callable[[int], bool],
    say: Callable[[str], None],
    hub_host: str = HOST,
    service: tuple[str, int] = (HOST, 0),
) -> LocalConfig:
    """Return the configuration of a state directory, made or mended where that is due.

    Parameters
    ----------
    state : StateDir
        Whose configuration.
    port : int or None
        Public port asked for; 0 is any free one, None what was used before (else 8000).
    next_free : bool
        Whether the next free port will do when that one is taken.
    ours : callable
        Whether a port is held by a process of this state directory, left by a killed ``up``.
    say : callable
        Told in a sentence what was chosen otherwise than before.
    hub_host : str
        Address asked for the hub.
    service : tuple of str and int
        Address and port asked for the service; 0 is what was used before, else a free one.

    Raises
    ------
    PortTaken
        When another program holds the port and no other will do.
    """
    old = LocalConfig.load(state)

    def usable(candidate: int, at: str = HOST) -> bool:
        return is_free(candidate, at) or ours(candidate)

    chosen = _public_port(old, port, next_free=next_free, usable=usable, say=say)
    host, wanted = service
    if wanted and (wanted == chosen or not usable(wanted, host)):
        raise PortTaken(
            f"Port {wanted}, which c.NablaHub.service_port names, is the public one, or held by "
            "another program.",
            hint="Choose another one there, or 0 for any free one.",
        )
    asked = {"service_port": wanted} if wanted else {}
    hosts = {"hub_port": hub_host, "service_port": host}
    ports = _internal_ports(old, asked, chosen, hosts, usable=usable, say=say)
    config = LocalConfig(
        session=old.session if old else uuid.uuid4().hex,
        owner=old.owner if old else owner_name(),
        port=chosen,
        hub_host=hub_host,
        service_host=host,
        **ports,
    )
    if config != old:
        config.save(state)
    return config


def _internal_ports(
    old: LocalConfig | None,
    asked: dict[str, int],
    public: int,
    hosts: dict[str, str],
    *,
    usable: Callable[[int, str], bool],
    say: Callable[[str], None],
) -> dict[str, int]:
    """Return the ports behind the public one: asked for, used before, or free."""
    ports = dict(asked)
    names = {"hub_port": "hub", "traefik_port": "Traefik", "service_port": "service"}
    fresh = iter(free_ports(len(names), ANY))
    for field, what in names.items():
        if field in asked:
            continue
        before = getattr(old, field) if old else None
        elsewhere = (public, *asked.values())
        host = hosts.get(field, HOST)
        if before is not None and before not in elsewhere and usable(before, host):
            ports[field] = before
            continue
        ports[field] = next(fresh)
        if before is not None:
            say(
                f"Another program holds port {before}, where the {what} listened: "
                f"it moves to {ports[field]}."
            )
    return ports


def _public_port(
    old: LocalConfig | None,
    port: int | None,
    *,
    next_free: bool,
    usable: Callable[[int], bool],
    say: Callable[[str], None],
) -> int:
    if port == 0:
        return old.port if old and usable(old.port) else free_ports(1)[0]
    wanted = port or (old.port if old else DEFAULT_PORT)
    if usable(wanted):
        return wanted
    if not next_free:
        raise PortTaken(
            f"Port {wanted} is held by another program.",
            hint="Choose another one with --port N, or any free one with --port 0.",
        )
    for candidate in range(wanted + 1, wanted + PORT_RANGE):
        if usable(candidate):
            say(f"Port {wanted} is held by another program: using {candidate}.")
            return candidate
    found = free_ports(1)[0]
    say(f"Port {wanted} and those after it are held by other programs: using {found}.")
    return found


def ensure_secrets(state: StateDir) -> None:
    """Make the secrets that are not there yet."""
    for name in ("admin_password", "proxy_api_password", "service_token", "up_token"):
        path = state.secrets / name
        if not path.exists():
            write_private(path, random.token_hex(32) + "\n")
    cookie = state.secrets / "cookie_secret"
    if not cookie.exists():
        write_private(cookie, random.token_hex(32) + "\n")
    hashed = state.secrets / "proxy_api_password_hash"
    if not hashed.exists():
        # The password has 256 random bits: a costly hash would protect nothing and be paid at
        # each request to Traefik's API, of which every spawn makes several.
        password = state.secret("proxy_api_password").encode()
        write_private(hashed, bcrypt.hashpw(password, bcrypt.gensalt(4)).decode() + "\n")
