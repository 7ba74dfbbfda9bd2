"""One run of the benchmark of data: a service, a folder for everything, the rows so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nablahub.core.transport import Transport
from tests.benchmarks.data_parts import BIN, TOKEN, Ratio, Runner, Service


class Bench:
    """One run: a service, a folder for everything, the rows so far."""

    def __init__(self, hub: Service, folder: Path, runner: Runner, repeats: int) -> None:
        self.hub, self.folder, self.runner, self.repeats = hub, folder, runner, repeats
        self.rows: list[Ratio] = []
        self._homes = 0

    def home(self) -> Path:
        """Return a new home, so an empty cache."""
        self._homes += 1
        return self.folder / f"home-{self._homes}"

    def client(self) -> Transport:
        """Return a connection, as a notebook has one."""
        return Transport(self.hub.url, TOKEN)

    def cli(self, home: Path, *words: str) -> tuple[float, float]:
        """Run ``nablahub datasets`` and return seconds and peak MiB."""
        return self.runner.run(
            str(BIN / "nablahub"), "datasets", *words, cwd=self.folder,
            env=self.hub.environment(home),
        )  # fmt: skip

    def row(self, name: str, **fields: Any) -> Ratio:
        """Begin a row."""
        made = Ratio(name, "s", **fields)
        self.rows.append(made)
        return made
