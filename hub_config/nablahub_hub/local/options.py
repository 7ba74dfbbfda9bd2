"""What the command line says of a hub, and what that makes with a configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nablahub.core.state import StateDir
from nablahub_hub.local import files, reading
from nablahub_hub.settings import NablaHub


@dataclass(frozen=True)
class Options:
    """How a hub is brought up.

    Parameters
    ----------
    port : int or None
        Public port; 0 any free one, None the one used before.
    next_free : bool
        Whether the next free port will do when it is taken.
    unsandboxed : bool
        Whether servers and jobs may run without a sandbox, whatever the configuration says.
    config : pathlib.Path or None
        The user's own ``jupyterhub_config.py``.
    named : bool
        Whether the user named the state directory, so that the configuration need not agree.
    runner : str or None
        What runs servers and jobs, whatever the configuration says: ``process``, ``kubernetes``.
    advertise : str or None
        Address of this machine for pods, whatever the configuration says.
    """

    port: int | None = None
    next_free: bool = False
    unsandboxed: bool = False
    config: Path | None = None
    named: bool = False
    runner: str | None = None
    advertise: str | None = None

    @property
    def flags(self) -> dict[str, Any]:
        """Settings that win over those of a configuration."""
        found: dict[str, Any] = {"unsandboxed": True} if self.unsandboxed else {}
        if self.runner is not None:
            spawner = "kubernetes" if self.runner == "kubernetes" else "local"
            found |= {"runner": self.runner, "spawner": spawner}
        if self.advertise is not None:
            found["advertise"] = self.advertise
        return found

    async def settings(self, state: StateDir) -> NablaHub:
        """Return what the user's configuration, if any, and the flags make.

        Raises
        ------
        BadConfiguration, BadSetting
            When the configuration cannot be used for that state directory.
        """
        flags = self.flags
        if self.config is None or self.named:
            flags |= {"state_dir": str(state.root)}
        cwd = state.hub if state.hub.exists() else Path.cwd()
        env = files.hub_environment(state)
        found = await reading.read(self.config, flags, cwd=cwd, env=env)
        if found.state != state:
            raise reading.BadConfiguration(
                f"{self.config} sets c.NablaHub.state_dir to {found.state.root}, "
                f"and this command uses {state.root}.",
                hint=f"Name it with --state-dir {found.state.root}, as for `nablahub status` "
                "and `down`.",
            )
        if found.proxy == "keep":
            raise reading.BadConfiguration(
                f'{self.config} says c.NablaHub.proxy = "keep", and `nablahub up` serves its '
                "hub through the Traefik that it runs.",
                hint="Take that line out, or start this hub with `jupyterhub -f`.",
            )
        return found
