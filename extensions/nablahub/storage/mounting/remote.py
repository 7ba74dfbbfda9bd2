"""A folder of a bucket as a copy of it is made and brought back, whoever asks the bucket for us."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Remote:
    """An object: its path below the folder, size in bytes, and ETag without quotes."""

    path: str
    size: int
    etag: str


class Readable(Protocol):
    """What gives bytes, one after the other."""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes; empty at the end."""
        ...


@dataclass(frozen=True)
class Content:
    """What shall be an object.

    Parameters
    ----------
    open : callable
        Returns its bytes, from the first on each time that it is called.
    size : int
        How many they are.
    etag : str
        The ETag that they get, where it is what they say.
    """

    open: Callable[[], Readable]
    size: int
    etag: str


class RemoteFolder(Protocol):
    """A folder of a bucket; may be used by several threads.

    All of it raises what the bucket's store says, StoreAway and StoreRefused.
    """

    @property
    def place(self) -> str:
        """Its name for people, such as ``s3://bucket/folder``."""
        ...

    def objects(self) -> Iterator[Remote]:
        """Yield everything below it, what cannot be a file too."""
        ...

    def read(self, path: str, start: int, length: int, etag: str) -> bytes:
        """Return bytes of an object as it was listed; MountFailed when it is another one now."""
        ...

    def write(self, path: str, content: Content, known: str | None) -> str:
        """Make an object be this, and return its ETag; it is seen when all of it is there.

        Parameters
        ----------
        known : str or None
            The ETag that it has as far as we know; None: there is none.

        Raises
        ------
        ChangedMeanwhile
            It is another one by now; nothing is written.
        """
        ...

    def remove(self, path: str, known: str) -> None:
        """Delete an object unless it is gone; ChangedMeanwhile when it is another one by now."""
        ...
