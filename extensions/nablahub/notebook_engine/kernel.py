"""The kernel of a notebook job: the job environment's ipykernel, reached without a network port."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager

KERNEL = "nablahub"


# These bases are untyped for the type checker: the runner environment has them, the hub's may not.
class OneKernel(KernelSpecManager):  # type: ignore[misc]  # untyped base
    """Knows one kernel: the ipykernel of a Python that we are told.

    A kernelspec found on the search path would run some other Python, or be missing.
    """

    def __init__(self, python: str) -> None:
        super().__init__()
        self._python = python

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        """Return the one spec, whatever the notebook calls its kernel."""
        return KernelSpec(
            argv=[self._python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            language="python",
            display_name="Python",
        )


def manager(python: str, folder: Path) -> AsyncKernelManager:
    """Return a kernel manager on ``ipc`` sockets in ``folder``.

    Parameters
    ----------
    python : str
        Python with ipykernel.
    folder : pathlib.Path
        A short private folder: a socket's path may have 107 bytes.
    """
    return AsyncKernelManager(
        kernel_name=KERNEL,
        kernel_spec_manager=OneKernel(python),
        transport="ipc",
        connection_file=str(folder / "kernel.json"),
    )


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
