"""What is done when something is killed: each operation, and what must be there afterwards."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

from nablahub.datasets.api import DatasetsAPI
from tests.crash.data.stand import Done, Stand
from tests.unit.datasets.builders import read, write

MIB: Final = 1024 * 1024
Files = dict[str, bytes]


def small_files(random: Random, count: int = 60) -> Files:
    """Return files that go into packs."""
    return {f"small/{i:03}": random.randbytes(random.randrange(1, 3000)) for i in range(count)}


@dataclass
class Case:
    """One operation on a dataset of its own.

    Parameters
    ----------
    stand : Stand
        Where it happens.
    kind : str
        Which store the service has.
    random : Random
        Of which the files are made.
    folder : pathlib.Path
        For files of this case.
    """

    stand: Stand
    kind: str
    random: Random
    folder: Path
    #: Trees that versions may have, and how many versions there are in the end.
    allowed: list[Files] = field(default_factory=list)
    final: list[Files] = field(default_factory=list)
    _dataset: str = ""

    @property
    def api(self) -> DatasetsAPI:
        """A client of this process."""
        return self.stand.api(self.kind)

    @property
    def dataset(self) -> str:
        """The dataset's id."""
        if not self._dataset:
            self._dataset = self.api.create(f"d{self.random.getrandbits(60):x}").id
        return self._dataset

    def base(self, files: Files) -> str:
        """Commit a version before anything happens, and return its id."""
        tree = write(self.folder / f"base-{len(self.allowed)}", files)
        self.allowed.append(files)
        self.final.append(files)
        return self.api.upload(self.dataset, tree, again=True).id

    def client(self, *arguments: str, at: int = 0) -> Done:
        """Run a client."""
        return self.stand.finish(self.start(*arguments, at=at))

    def start(self, *arguments: str, at: int = 0) -> subprocess.Popen[str]:
        """Start a client."""
        return self.stand.client(self.kind, *arguments, at=at)

    def ask(self, verb: str, *arguments: str) -> Done:
        """Let the service do something by itself."""
        try:
            answer = self.stand.service(self.kind).ask(verb, *arguments)
        except EOFError:
            return Done(1, {})
        refused = isinstance(answer, dict) and "refused" in answer
        return Done(int(refused), answer if refused else {})

    def prepare(self) -> None:
        """Make what is there before."""

    def act(self, at: int = 0) -> Done:
        """Do it, once; the client is killed at an act."""
        raise NotImplementedError

    def check(self) -> None:
        """See more than the versions, when all is done."""

    def wanted(self, files: Files) -> Path:
        """Return a folder of files that is put, whose version there will be."""
        self.allowed.append(files)
        self.final.append(files)
        return write(self.folder / "tree", files)


class Put(Case):
    """A folder of small files and a large one."""

    large = MIB + 5

    def prepare(self) -> None:
        tree = self.wanted({**small_files(self.random), "big": self.random.randbytes(self.large)})
        self.arguments = ("put", self.dataset, str(tree))

    def act(self, at: int = 0) -> Done:
        return self.client(*self.arguments, at=at)


class PutLarge(Put):
    """Files that need several parts."""

    large = 40 * MIB


class Commit(Put):
    """Some files of many change, by a folder that was put before."""

    def prepare(self) -> None:
        first = small_files(self.random, 400)
        tree = write(self.folder / "tree", first)
        self.allowed.append(first)
        self.final.append(first)
        assert self.client("put", self.dataset, str(tree)).code == 0
        gone = tree / "small/007"
        gone.unlink()
        second = {**first, "small/100": b"changed", "new/x": self.random.randbytes(5000)}
        del second["small/007"]
        super().wanted(second)
        self.arguments = ("put", self.dataset, str(tree))


class Drafts(Case):
    """Two writers, each with a file of their own."""

    def prepare(self) -> None:
        first = small_files(self.random)
        self.base(first)
        self.parts: list[tuple[Files, Path]] = []
        for name in ("left", "right"):
            files = {f"{name}/x": self.random.randbytes(2000), f"{name}/y": name.encode()}
            self.parts.append((files, write(self.folder / name, files)))
        left, right = self.parts[0][0], self.parts[1][0]
        self.allowed += [{**first, **left}, {**first, **right}, {**first, **left, **right}]

    def act(self, at: int = 0) -> Done:
        now = {file.path for file in self.api.files(self.dataset)}
        todo = [tree for files, tree in self.parts if not files.keys() <= now]
        clients = [
            self.start("draft", self.dataset, str(tree), at=0 if number else at)
            for number, tree in enumerate(todo)
        ]
        done = [self.stand.finish(client) for client in clients]
        return max(done, key=lambda one: abs(one.code), default=Done(0, {}))

    def check(self) -> None:
        last = self.api.version(self.dataset)
        self.api.download(last.id, self.folder / "both")
        assert read(self.folder / "both") == self.allowed[-1]
        # Each change is there once, so it is no matter whose came first.
        self.final = [self.allowed[0], *self.final[1:]]


class Get(Case):
    """A version, into a folder that is not there."""

    def prepare(self) -> None:
        files = {**small_files(self.random), "big": self.random.randbytes(3 * MIB)}
        self.version = self.base(files)
        self.target = self.folder / "got"

    def act(self, at: int = 0) -> Done:
        done = self.client("get", self.version, str(self.target), at=at)
        if self.target.exists():  # It appears whole, by a rename.
            assert read(self.target) == self.allowed[0]
        return done

    def check(self) -> None:
        assert read(self.target) == self.allowed[0]
        assert not [path for path in self.folder.iterdir() if path.name.endswith(".nablahub-part")]


class GetOver(Get):
    """The same into a folder that is there."""

    def prepare(self) -> None:
        super().prepare()
        write(self.target, {"small/000": b"other", "mine": b"kept"})

    def act(self, at: int = 0) -> Done:
        done = self.client("get", self.version, str(self.target), at=at)
        for path, data in read(self.target).items():
            hidden = path.endswith(".nablahub-part")
            old = {"small/000": b"other", "mine": b"kept"}.get(path)
            assert hidden or data in (old, self.allowed[0].get(path)), path
        return done

    def check(self) -> None:
        found = read(self.target)
        assert found.pop("mine") == b"kept"
        assert {k: v for k, v in found.items() if ".nablahub-part" not in k} == self.allowed[0]


class Materialise(Get):
    """The tree that jobs and mounts read."""

    def act(self, at: int = 0) -> Done:
        done = self.ask("materialise", self.version)
        for tree in self._trees():
            assert read(tree) == self.allowed[0]
        return done

    def _trees(self) -> list[Path]:
        cache = self.stand.root / f"state-{self.kind.replace(' ', '-')}/cache"
        name = self.version.replace(":", "-")
        return [tree for tree in cache.glob("*/*") if tree.name == name]

    def check(self) -> None:
        assert len(self._trees()) == 1


class Collect(Case):
    """A version is deleted and its bytes are condemned, pardoned and condemned."""

    def prepare(self) -> None:
        shared = small_files(self.random)
        self.first = self.base({**shared, "old": self.random.randbytes(2 * MIB), "o": b"old"})
        self.base({**shared, "new": b"new"})

    def act(self, at: int = 0) -> Done:
        return self.client("collect", self.dataset, self.first, at=at)

    def check(self) -> None:
        self.stand.service(self.kind).insist("purge", self.dataset)
        assert self.api.collect(self.dataset).versions == []
        del self.final[0]


class Purge(Collect):
    """The bytes of a deleted version go."""

    def prepare(self) -> None:
        super().prepare()
        assert super().act().code == 0
        del self.final[0]

    def act(self, at: int = 0) -> Done:
        return self.ask("purge", self.dataset)

    def check(self) -> None:
        assert self.api.collect(self.dataset).versions == []


class Delete(Case):
    """A version is deleted and had back."""

    def prepare(self) -> None:
        self.first = self.base(small_files(self.random))
        self.second = self.base({**self.allowed[0], "more": b"1"})

    def act(self, at: int = 0) -> Done:
        return self.client("delete", self.first, self.second, at=at)

    def check(self) -> None:
        assert [tag.ref for tag in self.api.tags(self.dataset)] == [self.second]


class Push(Case):
    """What ``dvc push`` sends."""

    def prepare(self) -> None:
        tree = self.wanted({**small_files(self.random, 12), "big": self.random.randbytes(2 * MIB)})
        self.arguments = ("push", self.dataset, str(tree))

    def act(self, at: int = 0) -> Done:
        return self.client(*self.arguments, at=at)


OPERATIONS: Final[dict[str, tuple[type[Case], tuple[str, ...]]]] = {
    "put": (Put, ("directory", "s3 through the hub")),
    "put directly": (Put, ("s3",)),
    "put parts": (PutLarge, ("s3",)),
    "commit": (Commit, ("directory", "s3")),
    "drafts": (Drafts, ("s3", "directory")),
    "get": (Get, ("s3", "directory", "s3 through the hub")),
    "get over": (GetOver, ("s3", "directory")),
    "materialise": (Materialise, ("s3", "directory")),
    "collect": (Collect, ("s3", "directory")),
    "purge": (Purge, ("s3", "directory")),
    "delete": (Delete, ("s3", "directory")),
    "dvc push": (Push, ("s3", "directory")),
}
VICTIMS: Final = ("client", "service", "s3")
#: What the service does by itself has no client.
ALONE: Final = ("materialise", "purge")


@dataclass(frozen=True)
class Moment:
    """Who is killed while what is done, drawn from a seed; when is drawn once acts are counted."""

    seed: int
    operation: str
    victim: str
    kind: str

    def __str__(self) -> str:
        return f"{self.seed}: {self.victim} during {self.operation} ({self.kind})"


def moment(seed: int) -> Moment:
    """Return what a seed stands for: neighbours go through all pairs of operation and victim."""
    pairs = [
        (name, victim)
        for victim in VICTIMS
        for name in OPERATIONS
        if not (victim == "client" and name in ALONE)
    ]
    name, victim = pairs[seed % len(pairs)]
    kinds = [kind for kind in OPERATIONS[name][1] if victim != "s3" or kind != "directory"]
    return Moment(seed, name, victim, kinds[seed // len(pairs) % len(kinds)])


def clean(folder: Path) -> None:
    """Delete what a case had on disk."""
    shutil.rmtree(folder, ignore_errors=True)


Make = Callable[[], Case]
