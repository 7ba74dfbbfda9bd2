"""Starts the kernel before anything heavy is imported: the two take their time side by side."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

#: Names of a kernel's sockets; over ipc a "port" is the end of a file's name.
SOCKETS = ("shell", "iopub", "stdin", "control", "hb")


@dataclass
class Launched:
    """A kernel that is starting.

    Parameters
    ----------
    process
        The kernel.
    connection
        Its connection file, in a folder of its own.
    """

    process: subprocess.Popen[bytes]
    connection: Path

    def end(self) -> None:
        """See that nothing of it is left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        shutil.rmtree(self.connection.parent, ignore_errors=True)


def launch(python: str, folder: Path) -> Launched:
    """Start the ipykernel of a Python on ``ipc`` sockets, so that it listens on no port.

    Parameters
    ----------
    python : str
        Python with ipykernel.
    folder : pathlib.Path
        Where it works.
    """
    # A socket's path may have 107 bytes, so a short folder.
    place = Path(tempfile.mkdtemp(prefix="nk-", dir="/tmp" if os.access("/tmp", os.W_OK) else None))
    connection = place / "kernel.json"
    content = {
        "transport": "ipc",
        "ip": str(place / "kernel-ipc"),
        "key": secrets.token_hex(32),
        "signature_scheme": "hmac-sha256",
        "kernel_name": "",
        **{f"{name}_port": number for number, name in enumerate(SOCKETS, 1)},
    }
    connection.touch(mode=0o600)
    connection.write_text(json.dumps(content))
    env = {
        # ipykernel's own choice: figures become outputs of the cell.
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        **os.environ,
        # The kernel ends when we do.
        "JPY_PARENT_PID": str(os.getpid()),
    }
    command = [python, "-m", "ipykernel_launcher", "-f", str(connection)]
    # Commands in cells must not end with what a terminal sends to us.
    process = subprocess.Popen(
        command, env=env, cwd=folder, stdin=subprocess.DEVNULL, start_new_session=True
    )
    return Launched(process, connection)
