"""A kernel that was started before, as jupyter_client sees it; and how we hear of its death."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

from nablahub.notebook_engine.launch import Launched


class Adopter(LocalProvisioner):  # type: ignore[misc]  # untyped base
    """Takes a running kernel where jupyter_client would start one."""

    def adopt(self, launched: Launched) -> None:
        """Say which kernel it will be."""
        self._launched = launched

    async def pre_launch(self, **kwargs: Any) -> dict[str, Any]:
        """Prepare nothing: the kernel has its connection file."""
        self.connection_info = self.parent.get_connection_info()
        return {**kwargs, "cmd": []}

    async def launch_kernel(self, cmd: list[str], **kwargs: Any) -> Any:
        """Take the kernel that runs."""
        self.process = self._launched.process
        # A session of its own, so its group has its number.
        self.pid = self.pgid = self.process.pid
        return self.connection_info


def manager(launched: Launched) -> AsyncKernelManager:
    """Return the manager of a kernel that was started before."""
    made = AsyncKernelManager(connection_file=str(launched.connection))
    made.load_connection_file()
    spec = KernelSpec(argv=[], language="python", display_name="Python")
    made.kernel_id = "kernel"
    made.provisioner = Adopter(parent=made, kernel_id=made.kernel_id, kernel_spec=spec)
    made.provisioner.adopt(launched)
    return made


@asynccontextmanager
async def death_of(pid: int) -> AsyncIterator[asyncio.Event]:
    """Give an event that is set the moment the process ends.

    Raises
    ------
    OSError
        When the system can't watch a process (no pidfd), or it is gone already.
    """
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    watch = os.pidfd_open(pid)
    try:
        loop.add_reader(watch, gone.set)
        yield gone
    finally:
        loop.remove_reader(watch)
        os.close(watch)


def obituary(returncode: int | None) -> str:
    """Return in words how a kernel process ended."""
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024**2
    if returncode is None:
        return "it stopped answering"
    if returncode == -signal.SIGKILL:
        return (
            f"it was killed (SIGKILL), most likely because memory ran out; its peak was "
            f"{peak:.2f} GiB"
        )
    if returncode < 0:
        return f"it was ended by {signal.Signals(-returncode).name}"
    return f"it exited with code {returncode}"
