"""Every setting of a NablaHub, as traitlets on one configurable."""

from __future__ import annotations

from pathlib import Path

from traitlets import Bool, Dict, Enum, Float, Integer, List, Unicode, default
from traitlets.config import Configurable

from nablahub.core.instances import DEFAULT_INSTANCE
from nablahub.core.state import StateDir, default_state_dir


class NablaHub(Configurable):
    """Settings of a NablaHub: ``c.NablaHub.<name> = …`` before ``nablahub_hub.install(c)``."""

    state_dir = Unicode(
        help="""
        Folder that holds everything this hub keeps (mode 0700).

        Default: ``$NABLAHUB_STATE_DIR``, else ``~/.local/share/nablahub``.
        """
    ).tag(config=True)

    @default("state_dir")
    def _default_state_dir(self) -> str:
        return str(default_state_dir())

    port = Integer(
        0,
        help="""
        Public port on the loopback address; 0 takes the one of the state directory's
        ``config.json``, which ``nablahub up --port`` chooses.
        """,
    ).tag(config=True)

    proxy = Enum(
        ["traefik", "keep"],
        default_value="traefik",
        help="""
        ``traefik``: Traefik, which ``nablahub up`` starts, with its routes in the state
        directory. ``keep``: leave ``c.JupyterHub.proxy_class`` alone (deployments then need a
        Traefik of yours that reads ``traefik/dynamic``).
        """,
    ).tag(config=True)

    authentication = Enum(
        ["local", "keep"],
        default_value="local",
        help="""
        ``local``: the operating system's user is the only one and the administrator; one-time
        links and the password in ``secrets/admin_password`` sign in. ``keep``: the
        authenticator that this file names. An authenticator named before ``install(c)`` is kept
        in any case.
        """,
    ).tag(config=True)

    sandboxed_servers = Bool(
        True,
        help="""
        Start single-user servers by nablahub_spawner.SandboxedSpawner; False leaves
        ``c.JupyterHub.spawner_class`` alone.
        """,
    ).tag(config=True)

    unsandboxed = Bool(
        False,
        help="""
        Accept, knowingly, that servers run without a sandbox where bubblewrap cannot run: they
        then see the files of the hub and of all other users. ``nablahub up --unsandboxed`` accepts
        it for jobs as well.
        """,
    ).tag(config=True)

    default_instance_type = Unicode(
        DEFAULT_INSTANCE, help="Instance type that is chosen on a user's first visit."
    ).tag(config=True)

    instance_types = List(
        Unicode(),
        help="Names of the instance types that are offered; empty: the whole catalogue.",
    ).tag(config=True)

    custom_instance_types = Dict(
        help="""
        Instance types of your own, or others' numbers, by name, such as
        ``{"big": {"cpus": 16, "memory_gib": 64, "gpu": "H100", "gpus": 1, "gpu_memory_gib": 80}}``.
        """
    ).tag(config=True)

    idle_culler = Bool(True, help="Stop servers that nobody uses.").tag(config=True)

    idle_timeout = Integer(
        6 * 3600, help="Seconds without activity after which a server is stopped."
    ).tag(config=True)

    idle_check_interval = Integer(
        600, help="Seconds between two looks at idle servers (at most a tenth of the timeout)."
    ).tag(config=True)

    cookie_days = Float(7.0, help="Days until a sign-in ends.").tag(config=True)

    @property
    def state(self) -> StateDir:
        """The state directory."""
        return StateDir(Path(self.state_dir).expanduser().absolute())
