"""One run of the benchmark of data: a service, a folder for everything, the rows so far."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nablahub.core.transport import Transport
from tests.benchmarks.data_parts import BIN, TOKEN, Dvc, Ratio, Runner, Service, service
from tests.benchmarks.data_peers import peers, s3_environment
from tests.support.s3 import SeaweedFS, seaweedfs
from tests.support.stores import own_store


class Bench:
    """One run: a service, a folder for everything, the rows so far.

    Parameters
    ----------
    s3 : SeaweedFS or None
        What the service stores in; None: a directory.
    """

    def __init__(
        self, hub: Service, folder: Path, runner: Runner, repeats: int, rows: list[Ratio],
        s3: SeaweedFS | None = None,
    ) -> None:  # fmt: skip
        self.hub, self.folder, self.runner, self.repeats = hub, folder, runner, repeats
        self.rows, self.s3 = rows, s3
        self._homes = 0

    @property
    def store(self) -> str:
        """What the service stores in, in words."""
        return "a directory" if self.s3 is None else "S3"

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

    def dvc(self, root: Path) -> Dvc:
        """Return a DVC repository whose remote is of the service's kind."""
        if self.s3 is None:
            return Dvc(self.runner, root / "repo", str(root / "remote"), root / "home")
        return Dvc(
            self.runner, root / "repo", f"s3://{self.s3.bucket()}/dvc", root / "home",
            endpoint=self.s3.endpoint, command=str(peers() / "dvc"), **s3_environment(self.s3),
        )  # fmt: skip

    def restart(self) -> None:
        """Kill the service and start it again."""
        self.hub.kill()
        self.hub.start()


@contextlib.contextmanager
def bench(
    folder: Path, runner: Runner, repeats: int, rows: list[Ratio], *, s3: bool = False
) -> Iterator[Bench]:
    """Run a service, on an S3 of its own where that is asked for."""
    folder.mkdir()
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(seaweedfs()) if s3 else None
        settings = {"object_store": own_store(store, folder / "keys")} if store else {}
        hub = stack.enter_context(service(folder / "state", folder / "home-0", **settings))
        yield Bench(hub, folder, runner, repeats, rows, store)
