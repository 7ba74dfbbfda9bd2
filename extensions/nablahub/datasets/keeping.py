"""The cache of materialised trees, kept below its size.

What has not been used for the longest time goes first, and nothing that is read goes. Who reads is
asked in the database while the tree's lock is held: a reader writes itself down before it asks for
its tree, so either it is seen here, or it finds no tree and has it made again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy.orm import Session

from nablahub.core.context import Context
from nablahub.core.turns import Turns
from nablahub.datasets.cache import build
from nablahub.datasets.contents import Contents
from nablahub.datasets.ledger import Ledger, Tree
from nablahub.datasets.manifest import KIND_EXECUTABLE, Entry

#: What looks after the cache's size.
SHRINK: Final = "dataset-cache"
_CHUNK: Final = 1 << 20


class Reader(NamedTuple):
    """Somebody who needs a tree to stay.

    Parameters
    ----------
    place : str
        Of the tree: ``<team>/<name>``.
    who : str
        For people, such as ``job j0123``.
    """

    place: str
    who: str


class Recipe(NamedTuple):
    """What a tree is made from."""

    contents: Contents
    entries: Callable[[], Iterable[Entry]]


@dataclass
class Inspection:
    """What was found in one tree."""

    tree: Tree
    files: int = 0
    damaged: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    repaired: bool = False


class Keeping:
    """The trees of all teams.

    Parameters
    ----------
    context : Context
        Its settings say where they lie and how large they may be together.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._ledger = Ledger(context.settings.state.cache)
        self._turns: Turns[Path] = Turns()
        #: Tell who needs which trees.
        self.readers: list[Callable[[Session], Iterable[Reader]]] = []
        #: Tell what a tree of a name is made from; None: it is not theirs.
        self.recipes: list[Callable[[Session, str], Recipe | None]] = []
        #: Called, in any thread, when the cache has grown.
        self.grown: Callable[[], None] = lambda: None

    @property
    def limit(self) -> int | None:
        """Bytes that all trees may take together; None: any number."""
        return self._context.settings.dataset_cache_bytes

    def tree(self, recipe: Recipe, team_id: str, name: str) -> Path:
        """Return a read-only tree of a team's cache, made if it is not there.

        Who calls must have written down before that it reads it; see :attr:`readers`.
        """
        target = self._ledger.cache / team_id / name
        # The second of two that want the same tree waits for the first.
        with self._turns.take(target):
            if target.is_dir():
                self._ledger.use(target)
                return target
            self._ledger.note(target, build(recipe.contents, recipe.entries(), target))
        self.grown()
        return target

    def has(self, place: str) -> bool:
        """Whether a tree is there."""
        return (self._ledger.cache / place).is_dir()

    def trees(self) -> list[Tree]:
        """Return what is there, what was not used for the longest time first."""
        return sorted(self._ledger.trees(), key=lambda tree: tree.used_at)

    def users(self) -> dict[str, list[str]]:
        """Return who needs which tree, by its place."""
        return self._context.database.read_sync(self.users_of)

    def users_of(self, session: Session) -> dict[str, list[str]]:
        """Return the same within a transaction."""
        found: dict[str, list[str]] = {}
        for tell in self.readers:
            for reader in tell(session):
                found.setdefault(reader.place, []).append(reader.who)
        return found

    def prune(self, limit: int, *, dry_run: bool = False) -> list[Tree]:
        """Take trees away until the rest is small enough, or all of it is read.

        Parameters
        ----------
        limit : int
            Bytes that may stay.
        dry_run : bool
            Only tell what would go.
        """
        trees, users = self.trees(), self.users()
        left = sum(tree.size for tree in trees)
        gone = []
        for tree in trees:
            if left <= limit:
                break
            if tree.place in users or not (dry_run or self.evict(tree.path)):
                continue
            left -= tree.size
            gone.append(tree)
        return gone

    def evict(self, path: Path) -> bool:
        """Take a tree away unless somebody needs it; tell whether it is gone."""
        with self._turns.take(path):
            if f"{path.parent.name}/{path.name}" in self.users():
                return False
            try:
                gone = self._ledger.put_away(path)
            except FileNotFoundError:
                return True
        self._ledger.remove(gone)
        return True

    def discard(self, path: Path) -> None:
        """Take away a tree of what was deleted; what is not there is no error."""
        with self._turns.take(path):
            if not path.is_dir():
                return
            gone = self._ledger.put_away(path)
        self._ledger.remove(gone)

    def inspect(self, *, repair: bool = False) -> Iterator[Inspection]:
        """Read every tree and yield what is wrong with it.

        Parameters
        ----------
        repair : bool
            Make damaged trees again, except those that somebody reads.
        """
        for tree in self.trees():
            recipe = self._recipe(tree)
            if recipe is None or not tree.path.is_dir():
                continue
            found = Inspection(tree)
            _compare(recipe, found)
            if found.damaged and tree.path.is_dir():
                found.users = self.users().get(tree.place, [])
                if repair and not found.users and self.evict(tree.path):
                    self.tree(recipe, *tree.place.split("/"))
                    again = Inspection(tree)
                    _compare(recipe, again)
                    found.repaired = not again.damaged
            yield found

    def _recipe(self, tree: Tree) -> Recipe | None:
        def ask(session: Session) -> Recipe | None:
            asked = (tell(session, tree.path.name) for tell in self.recipes)
            return next((recipe for recipe in asked if recipe is not None), None)

        return self._context.database.read_sync(ask)


def _compare(recipe: Recipe, found: Inspection) -> None:
    """Compare each file of a tree with its digest, and look for what should not be there."""
    base = found.tree.path
    known = set()
    for entry in recipe.entries():
        found.files += 1
        known.add(entry.path)
        if not _is(base / entry.path, entry):
            found.damaged.append(entry.path)
    for folder, _, files in os.walk(base):
        below = Path(folder).relative_to(base)
        extra = {str(below / name) for name in files} - known
        found.damaged += sorted(extra)


def _is(path: Path, entry: Entry) -> bool:
    try:
        status = path.lstat()
        if status.st_size != entry.size:
            return False
        if bool(status.st_mode & 0o100) != (entry.kind == KIND_EXECUTABLE):
            return False
        digest = hashlib.md5(usedforsecurity=False)
        with path.open("rb") as file:
            while data := file.read(_CHUNK):
                digest.update(data)
    except OSError:
        return False
    return digest.hexdigest() == entry.md5
