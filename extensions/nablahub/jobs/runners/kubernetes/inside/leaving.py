"""What a command left, read to be sent: without following a link out of it, or a word lost.

Whoever reads it holds what the command must not see, and the command may be running still: so each
part of a path is opened by itself, below what was opened before. Standard library only.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_FOLDER = _OPEN | os.O_DIRECTORY
_PATH = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
#: Bytes of a path: the service puts its own folder before it, and no path is longer than 4096.
_LONGEST = 3500
_MOST_LINKS = 40
#: So many are named; the others are counted.
_NAMED = 5
_LONGEST_SHOWN = 120
_SPECIAL = {
    stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


class Unkept(Exception):
    """What must be whole or not there cannot be sent; the text is for people."""


class Unreadable(Exception):
    """One file or folder cannot be sent."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name, self.why = name, why


class Item(NamedTuple):
    """A folder, or a file that is open."""

    name: str
    status: os.stat_result
    file: int | None


class Left(Protocol):
    """What can be sent as a tree, more than once."""

    def items(self) -> Iterator[Item]:
        """Yield folders and files; a file is open until the next is asked for."""

    def leave_out(self, name: str, why: str) -> None:
        """Send the rest without it, or raise Unkept."""


class Artifacts:
    """A folder of which everything is sent that can be, and the rest is named.

    Parameters
    ----------
    root
        The folder.
    beside
        Files that lie elsewhere: the names that they get, with where they are.
    ended
        Whether the command has ended: what it took from itself by a chmod is given back then.
    """

    def __init__(
        self,
        root: Path,
        *,
        beside: Mapping[str, str] = MappingProxyType({}),
        ended: bool = True,
    ) -> None:
        self._root, self._beside, self._ended = root, beside, ended
        self._left_out: dict[str, str] = {}

    def items(self) -> Iterator[Item]:
        """See `Left.items`."""
        taken = {name.partition("/")[0] for name in self._beside}
        for item in _walk(self._root, self.leave_out, mend=self._ended, without=taken):
            if item.name not in self._left_out:
                yield item
        for name, where in self._beside.items():
            # What comes beside has its name for itself.
            if name not in self._left_out:
                yield from _one(Path("/"), where.lstrip("/"), name, self.leave_out)

    def leave_out(self, name: str, why: str) -> None:
        """See `Left.leave_out`."""
        self._left_out[name] = why

    @property
    def words(self) -> str:
        """What was left out and why; empty when everything was sent."""
        if not self._left_out:
            return ""
        found = sorted(self._left_out.items())
        named = [f"{_shown(name)} ({why})" for name, why in found[:_NAMED]]
        more = [f"{len(found) - _NAMED} more"] if len(found) > _NAMED else []
        return f"Of what it left in /artifacts was not kept: {', '.join(named + more)}."


class Outputs:
    """The folder of outputs: each of its datasets is whole, or nothing is sent.

    The rules are those of a commit on the hub's own machine: a link counts when it leads to a file
    of the same dataset, and nothing else that is no file can be in one.

    Parameters
    ----------
    root
        The folder.
    datasets
        Its folders that are outputs; its files may be.
    """

    def __init__(self, root: Path, datasets: Collection[str]) -> None:
        self._root, self._datasets = root, datasets

    def items(self) -> Iterator[Item]:
        """See `Left.items`."""
        for path in sorted(self._root.iterdir()):
            name = path.name
            if name in self._datasets:
                yield Item(name, path.lstat(), None)
                yield from _walk(path, self.leave_out, prefix=f"{name}/", links=True)
            elif stat.S_ISREG(path.lstat().st_mode):
                yield from _one(self._root, name, name, self.leave_out)

    def leave_out(self, name: str, why: str) -> None:
        """See `Left.leave_out`."""
        raise Unkept(
            f"'/outputs/{_shown(name)}' can't be kept: it is {why}. "
            "Have the command remove it, or write it elsewhere."
        )


def _walk(
    root: Path,
    refuse: Callable[[str, str], None],
    *,
    prefix: str = "",
    links: bool = False,
    mend: bool = True,
    without: Collection[str] = (),
) -> Iterator[Item]:
    try:
        top = os.open(root, _FOLDER)
    except OSError as error:
        refuse(prefix.rstrip("/"), _why(error))
        return
    try:
        todo = [""]
        while todo:
            for item in _in_folder(top, todo.pop(), prefix, refuse, links=links, mend=mend):
                name = item.name.removeprefix(prefix)
                if name in without:
                    continue
                if item.file is None:
                    todo.append(f"{name}/")
                yield item
    finally:
        os.close(top)


def _in_folder(
    top: int,
    folder: str,
    prefix: str,
    refuse: Callable[[str, str], None],
    *,
    links: bool,
    mend: bool,
) -> Iterator[Item]:
    try:
        parent = _descend(top, folder.split("/")[:-1])
    except FileNotFoundError:
        return  # Gone meanwhile.
    except OSError as error:
        refuse(f"{prefix}{folder}", _why(error))
        return
    try:
        for name in sorted(os.listdir(parent)):  # noqa: PTH208 - of a descriptor
            path = f"{folder}{name}"
            try:
                item = _item(top, parent, path, prefix, links=links, mend=mend)
            except FileNotFoundError:
                continue  # Gone meanwhile.
            except OSError as error:
                refuse(f"{prefix}{path}", _why(error))
                continue
            except Unreadable as error:
                refuse(f"{prefix}{path}", error.why)
                continue
            yield from _closing(item)
    finally:
        os.close(parent)


def _item(top: int, parent: int, path: str, prefix: str, *, links: bool, mend: bool) -> Item:
    """Open what lies in a folder."""
    name = path.rpartition("/")[2]
    if len(os.fsencode(f"{prefix}{path}")) > _LONGEST:
        raise Unreadable(path, "too deep: its path is too long")
    status = os.lstat(name, dir_fd=parent)
    if stat.S_ISDIR(status.st_mode):
        if mend and status.st_mode & stat.S_IRWXU != stat.S_IRWXU:
            _open_up(parent, name, stat.S_IRWXU)
        return Item(f"{prefix}{path}", status, None)
    if stat.S_ISLNK(status.st_mode):
        if not links:
            raise Unreadable(path, "a link")
        file = _through(top, path, mend=mend)
    else:
        _refuse_special(path, status)
        file = _open(parent, name, mend=mend)
    return _opened(f"{prefix}{path}", file)


def _opened(name: str, file: int) -> Item:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):  # It took the file's place just now.
        os.close(file)
        raise Unreadable(name, "no ordinary file")
    return Item(name, status, file)


def _one(root: Path, path: str, name: str, refuse: Callable[[str, str], None]) -> Iterator[Item]:
    *folders, last = path.split("/")
    try:
        top = os.open(root, _FOLDER)
        try:
            parent = _descend(top, folders)
        finally:
            os.close(top)
        try:
            item = _opened(name, _open(parent, last, mend=True))
        finally:
            os.close(parent)
    except FileNotFoundError:
        return  # Gone meanwhile.
    except OSError as error:
        refuse(name, _why(error))
    except Unreadable as error:
        refuse(name, error.why)
    else:
        yield from _closing(item)


def _closing(item: Item) -> Iterator[Item]:
    try:
        yield item
    finally:
        if item.file is not None:
            os.close(item.file)


def _descend(top: int, folders: Sequence[str]) -> int:
    """Open a folder below another, following no link on the way."""
    found = os.dup(top)
    for folder in folders:
        parent = found
        try:
            found = os.open(folder, _FOLDER, dir_fd=parent)
        finally:
            os.close(parent)
    return found


def _open(parent: int, name: str, *, mend: bool) -> int:
    try:
        return os.open(name, _OPEN, dir_fd=parent)
    except PermissionError:
        if not mend:
            raise
    _open_up(parent, name, stat.S_IRUSR)
    return os.open(name, _OPEN, dir_fd=parent)


def _open_up(parent: int, name: str, wanted: int) -> None:
    """Give ourselves back what a command's umask or chmod took."""
    found = os.open(name, _PATH, dir_fd=parent)
    try:
        mode = os.fstat(found).st_mode
        if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
            # By this name, since Linux changes the mode of nothing that is open as a mere path.
            Path(f"/proc/self/fd/{found}").chmod(stat.S_IMODE(mode) | wanted)
    finally:
        os.close(found)


def _through(top: int, path: str, *, mend: bool) -> int:
    """Open the file that a link leads to, if it is relative and stays in the folder."""
    *done, last = path.split("/")
    todo, count = [last], 0
    try:
        while todo:
            part = todo.pop(0)
            if part == ".." and not done:
                raise Unreadable(path, "a link that leads out of its folder")
            if part == "..":
                done.pop()
            elif part not in ("", "."):
                target = _target(top, done, part)
                count += target is not None
                if target is None:
                    done.append(part)
                elif target.startswith("/"):
                    raise Unreadable(path, "a link to an absolute path")
                elif count > _MOST_LINKS:
                    raise Unreadable(path, "a link that leads nowhere")
                else:
                    todo[:0] = target.split("/")
        if not done:
            raise Unreadable(path, "a link to a folder")
        parent = _descend(top, done[:-1])
        try:
            _refuse_special(path, os.lstat(done[-1], dir_fd=parent), "a link to ")
            return _open(parent, done[-1], mend=mend)
        finally:
            os.close(parent)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Unreadable(path, "a link that leads nowhere") from error


def _target(top: int, folders: Sequence[str], name: str) -> str | None:
    """Where a link leads; None: it is none."""
    parent = _descend(top, folders)
    try:
        if stat.S_ISLNK(os.lstat(name, dir_fd=parent).st_mode):
            return os.readlink(name, dir_fd=parent)
        return None
    finally:
        os.close(parent)


def _refuse_special(path: str, status: os.stat_result, before: str = "") -> None:
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable(path, f"{before}a folder")
    if not stat.S_ISREG(status.st_mode):
        what = _SPECIAL.get(stat.S_IFMT(status.st_mode), "no ordinary file")
        raise Unreadable(path, f"{before}{what}")


def _why(error: OSError) -> str:
    return f"unreadable: {error.strerror}"


def _shown(name: str) -> str:
    """A name as it can be told, whatever bytes it has."""
    text = name.encode(errors="surrogateescape").decode(errors="replace")
    text = "".join(each if each.isprintable() else "\ufffd" for each in text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
