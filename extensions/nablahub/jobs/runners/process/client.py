"""The service's side of the launcher's socket."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from nablahub.jobs.runners.process import launcher

# Not `-m`: with `-S` nothing is searched but the standard library and our own folder.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[2]); "
    "from nablahub.jobs.runners.process.launcher import main; main(sys.argv[1])"
)
#: Between tries while more ask the launcher at once than its queue holds.
_BUSY_SECONDS = 0.01


class LauncherClient:
    """Asks the launcher of one run folder to start tasks; starts it when it is not there.

    Parameters
    ----------
    run
        Folder of the launcher's socket.
    """

    def __init__(self, run: Path) -> None:
        self._run = run
        self._code = launcher.fingerprint()
        self._starting = asyncio.Lock()

    async def start(self, folder: Path) -> tuple[dict[str, Any], socket.socket]:
        """Have the task in `folder` started.

        Returns
        -------
        mark
            What whoever started it first left in the folder.
        line
            Brings a byte when the task has ended; the caller closes it. Its end alone tells
            nothing: the shim was killed, or another one had started the task before.

        Raises
        ------
        OSError
            The launcher cannot be started, or vanished while it was asked: ask again.
        """
        request = {"code": self._code, "folder": str(folder)}
        try:
            answer, line = await self.ask(request)
        except ConnectionResetError:  # Killed at that moment; asking twice starts once.
            answer, line = await self.ask(request)
        if "stale" in answer:  # It was of another release, and has ended: now there is ours.
            line.close()
            answer, line = await self.ask(request)
        if "error" in answer:
            line.close()
            raise OSError(f"the job launcher could not start {folder.name}: {answer['error']}")
        return answer, line

    async def ask(self, request: dict[str, Any]) -> tuple[dict[str, Any], socket.socket]:
        """Send one request; returns the answer and the connection, which the caller closes."""
        loop = asyncio.get_running_loop()
        line = await self._connect()
        try:
            await loop.sock_sendall(line, json.dumps(request).encode() + b"\n")
            said = b""
            while b"\n" not in said:
                part = await loop.sock_recv(line, 65536)
                if not part:
                    raise ConnectionResetError("the job launcher was killed while it was asked")
                said += part
            answer = json.loads(said[: said.index(b"\n")])
        except BaseException:
            line.close()
            raise
        return answer if isinstance(answer, dict) else {"error": repr(answer)}, line

    async def _connect(self) -> socket.socket:
        try:
            return await self._open()
        except (FileNotFoundError, ConnectionRefusedError):
            pass
        async with self._starting:
            try:
                return await self._open()
            except (FileNotFoundError, ConnectionRefusedError):
                await self._launch()
            return await self._open()

    async def _open(self) -> socket.socket:
        # Through the folder's descriptor: a socket's path has at most 107 bytes.
        fd = os.open(self._run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        line = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            path = f"/proc/self/fd/{fd}/{launcher.SOCKET}"
            while True:
                try:
                    line.connect(path)  # It never waits, but for a queue that is full.
                    return line
                except BlockingIOError:
                    await asyncio.sleep(_BUSY_SECONDS)
        except BaseException:
            line.close()
            raise
        finally:
            os.close(fd)

    async def _launch(self) -> None:
        root = str(Path(launcher.__file__).parents[4])
        arguments = ("-I", "-S", "-c", _PROGRAM, str(self._run), root)
        # In a thread: by an event loop's own way more than it is given may reach what runs on.
        ended = await asyncio.to_thread(
            subprocess.run,
            (sys.executable, *arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
            check=False,
        )
        if ended.returncode:
            words = ended.stderr.decode(errors="replace").strip().splitlines()
            raise OSError(f"the job launcher does not start: {words[-1] if words else 'no word'}")
