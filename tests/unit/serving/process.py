"""A real model server in a process of its own."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

KEY = "nhk_test-key"
STARTING_SECONDS = 60.0


def write_keys(folder: Path, secrets: Iterable[str]) -> None:
    """Replace the keys file as the service does: whole, by a rename."""
    rows = [
        {"id": f"key{i}", "sha256": hashlib.sha256(secret.encode()).hexdigest()}
        for i, secret in enumerate(secrets)
    ]
    new = folder / "keys.json.new"
    new.write_text(json.dumps({"keys": rows}))
    new.replace(folder / "keys.json")


@dataclass
class ModelServer:
    """Starts ``python -m nablahub.serving`` on a free port.

    Parameters
    ----------
    model
        The model's file or folder.
    keys
        The folder of the keys file.
    arguments
        More command-line arguments.
    """

    model: Path
    keys: Path
    arguments: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] = field(init=False)
    url: str = field(init=False, default="")
    errors: list[str] = field(init=False, default_factory=list)

    def __enter__(self) -> "ModelServer":
        command = [sys.executable, "-m", "nablahub.serving", "--model", str(self.model)]
        command += ["--keys", str(self.keys), "--port", "0", *self.arguments]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": ""},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        assert line.startswith("listening on "), self.said()
        self.url = line.split()[-1]
        return self

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        self.errors.extend(self.process.stderr)

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(10)
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self.process.stdout.close()
        self.process.stderr.close()
        return code

    def said(self) -> str:
        """Return what it wrote to stderr."""
        return "".join(self.errors)

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        url = httpx.URL(self.url)
        assert url.port is not None
        return url.host, url.port

    def client(self, key: str | None = KEY) -> httpx.Client:
        """Return a client that sends a key."""
        headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, trust_env=False)

    def ready(self) -> "ModelServer":
        """Wait until the model is loaded."""
        end = time.monotonic() + STARTING_SECONDS
        with self.client() as client:
            while client.get("/v2/health/ready").status_code != 200:
                assert self.process.poll() is None, self.said()
                assert time.monotonic() < end, "the model did not load"
                time.sleep(0.01)
        return self
