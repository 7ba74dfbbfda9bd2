"""Taking versions that nobody reads out of the folder that pods share, when they take too much.

A version is taken away under its lock: it is asked who reads it, it is renamed, and asked once
more, since a notebook does not take the lock. Who comes later with the lock finds that it is not
there and fetches it again. What a killed pod had renamed the next one deletes.
Standard library only.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nablahub.core.identity import PUBLIC
from nablahub.jobs.runners.kubernetes.inside.filling import FILLED, NAMES, lock, remove

GONE = ".gone-"
#: Tells which of some versions (`<team>/<name>`) are read.
Ask = Callable[[list[str]], Collection[str]]


class Filled(NamedTuple):
    """A version that lies in the folder."""

    used_at: float
    place: str
    size: int


def shrink(root: Path, room: int, ask: Ask) -> list[str]:
    """Take away what was not used for the longest time, until the rest fits or is read.

    Parameters
    ----------
    root
        The folder that is shared.
    room
        Bytes that versions may take.
    ask
        Who reads what.

    Returns
    -------
    list of str
        What is gone.
    """
    _sweep(root)
    found = sorted(_filled(root))
    taken, gone = sum(each.size for each in found), list[str]()
    if taken <= room:
        return gone
    read = ask([each.place for each in found])
    for each in found:
        if taken <= room:
            break
        if each.place not in read and _evict(root, each.place, ask):
            taken -= each.size
            gone.append(each.place)
    return gone


def withdraw(root: Path, ask: Ask) -> list[str]:
    """Take away the versions that nobody may see any more, who reads them or not.

    Parameters
    ----------
    root
        The folder that is shared.
    ask
        Which these are.

    Returns
    -------
    list of str
        What is gone.
    """
    shown = [each.place for each in _filled(root) if each.place.startswith(f"{PUBLIC}/")]
    return [place for place in (ask(shown) if shown else ()) if _evict(root, place, lambda _: ())]


def taken(root: Path) -> int:
    """Return how many bytes the versions take."""
    return sum(each.size for each in _filled(root))


def _filled(root: Path) -> list[Filled]:
    found = []
    for mark in (root / FILLED).glob("*/*"):
        if "." in mark.name:  # A lock, or a mark that is just being written.
            continue
        place = f"{mark.parent.name}/{mark.name}"
        with suppress(OSError, ValueError):
            words = mark.read_text().split()
            size = int(words[1]) if len(words) > 1 else 0  # Of an earlier release: not known.
            found.append(Filled(mark.stat().st_mtime, place, size))
    return found


def _evict(root: Path, place: str, ask: Ask) -> bool:
    target, mark = root / place, root / FILLED / place
    with lock(mark.with_name(f"{mark.name}.lock"), wait=False) as locked:
        if not locked or ask([place]):
            return False
        gone = target.with_name(f"{GONE}{target.name}-{secrets.token_hex(4)}")
        try:
            target.rename(gone)
        except FileNotFoundError:
            mark.unlink(missing_ok=True)
            return True
        if ask([place]):
            gone.rename(target)
            return False
        mark.unlink(missing_ok=True)
    team = place.partition("/")[0]
    for link in (root / NAMES / team).glob("*/*"):
        if link.is_symlink() and str(link.readlink()).endswith(f"/{place}"):
            link.unlink(missing_ok=True)
            with suppress(OSError):  # It has other versions.
                link.parent.rmdir()
    remove(gone)
    return True


def _sweep(root: Path) -> None:
    """Delete what somebody had renamed who was killed then."""
    for gone in root.glob(f"[!.]*/{GONE}*"):
        name = gone.name.removeprefix(GONE).rpartition("-")[0]
        with lock(root / FILLED / gone.parent.name / f"{name}.lock", wait=False) as locked:
            if locked and gone.exists():
                remove(gone)
