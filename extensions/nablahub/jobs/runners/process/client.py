"""The service's side of the launcher's socket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from nablahub.jobs.runners.process import launcher

# Not `-m`: with `-S` nothing is searched but the standard library and our own folder.
_PROGRAM = (
    "import sys; sys.path.append(sys.argv[2]); "
    "from nablahub.jobs.runners.process.launcher import main; main(sys.argv[1])"
)


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

    async def start(self, folder: Path) -> dict[str, Any]:
        """Have the task in `folder` started; returns its mark, of whoever started it first.

        Raises
        ------
        OSError
            The launcher cannot be started, or vanished while it was asked: ask again.
        """
        request = {"code": self._code, "folder": str(folder)}
        try:
            answer = await self.ask(request)
        except ConnectionResetError:  # Killed at that moment; asking twice starts once.
            answer = await self.ask(request)
        if "stale" in answer:  # It was of another release, and has ended: now there is ours.
            answer = await self.ask(request)
        if "error" in answer:
            raise OSError(f"the job launcher could not start {folder.name}: {answer['error']}")
        return answer

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request and return the answer."""
        reader, writer = await self._connect()
        try:
            writer.write(json.dumps(request).encode() + b"\n")
            line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise ConnectionResetError("the job launcher was killed while it was asked")
        answer = json.loads(line)
        return answer if isinstance(answer, dict) else {"error": repr(answer)}

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
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

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # Through the folder's descriptor: a socket's path has at most 107 bytes.
        fd = os.open(self._run, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return await asyncio.open_unix_connection(f"/proc/self/fd/{fd}/{launcher.SOCKET}")
        finally:
            os.close(fd)

    async def _launch(self) -> None:
        root = str(Path(launcher.__file__).parents[4])
        arguments = ("-I", "-S", "-c", _PROGRAM, str(self._run), root)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        _, said = await process.communicate()
        if process.returncode:
            words = said.decode(errors="replace").strip().splitlines()
            raise OSError(f"the job launcher does not start: {words[-1] if words else 'no word'}")
