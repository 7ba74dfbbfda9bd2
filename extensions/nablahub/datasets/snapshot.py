"""A folder as it is now, next to what is known of it: which files must be read, which are gone."""

from __future__ import annotations

import os
import stat
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path

from nablahub.datasets.index import (
    STAT,
    Files,
    Index,
    Known,
    Listed,
    kind_of,
    list_folder,
    load,
    read_folder,
    without_young,
)
from nablahub.datasets.paths import are_plain_names, check_path
from nablahub.datasets.scan import Found, refuse_special, through_link


@dataclass
class _Folder:
    """One folder; of those that are as they were, only what is known of them."""

    path: str
    listed: Listed
    known: Known | None = None
    names: list[str] = field(default_factory=list)


class Snapshot:
    """What lies in a folder (or one file), each file known or still to be read.

    Parameters
    ----------
    source : pathlib.Path
        The folder.
    manifest : str or None
        What is known is used when it belongs to the manifest of this digest.

    Raises
    ------
    BadPath
        As :func:`nablahub.datasets.scan.scan`, for what is not known yet.
    FileNotFoundError
        When it is not there.
    """

    def __init__(self, source: Path, manifest: str | None) -> None:
        self.root = Path(os.path.realpath(source))
        info = self.root.stat()
        self.whole = stat.S_ISDIR(info.st_mode)
        index = load(self.root) if self.whole and manifest else Index({})
        self.index = index if index.manifest == manifest else Index({})
        self.seen = time.time_ns()
        #: Files to be read; what came of it goes into :attr:`learned`.
        self.unread: list[Found] = []
        #: md5 and sha256 (48 bytes) by path.
        self.learned: dict[str, bytes] = {}
        self._before: dict[str, tuple[str, bytes]] = {}
        self.gone: list[str] = []
        self.size = 0
        self._folders: list[_Folder] = []
        if self.whole:
            self._walk()
            self._note_gone()
        else:
            refuse_special(source.name, info)
            kind = kind_of(info.st_mode)
            self.unread = [Found(check_path(source.name), str(self.root), info.st_size, kind)]
            self.size = info.st_size
        self.unread.sort()

    @property
    def unchanged(self) -> bool:
        """Whether nothing differs from what the index knows."""
        return not self.unread and not self.gone and self.index.manifest != ""

    def changed(self) -> list[str]:
        """Return the paths of those files that were read and are not what they were, sorted."""
        learned, before = self.learned, self._before
        return [
            found.path
            for found in self.unread
            if before.get(found.path) != (found.kind, learned[found.path])
        ]

    def _walk(self) -> None:
        base, todo = str(self.root), [""]
        while todo:
            path = todo.pop()
            links: list[str] = []
            found = files = read_folder(f"{base}/{path}")
            if not all(map(stat.S_ISREG, {info.st_mode for info in found.infos})):
                files = Files()
                for name, info in found:
                    if stat.S_ISDIR(info.st_mode):
                        todo.append(f"{path}{name}/")
                    elif stat.S_ISLNK(info.st_mode):
                        links.append(name)
                    else:
                        files.add(name, info)
            self._folder(path, files, links)

    def _folder(self, path: str, files: Files, links: list[str]) -> None:
        listed = list_folder(path, files)
        known = self.index.folders.get(path)
        self.size += listed.size
        folder = _Folder(path, listed)
        if listed.names or links:
            self._folders.append(folder)
        if not links and known and known.names == listed.names and known.stats == listed.stats:
            folder.known = known
            return
        folder.names = files.names
        base = f"{self.root}/{path}"
        before = known.by_name() if known is not None else {}
        if before:
            stats, kept = listed.stats, Files()
            for number, (name, info) in enumerate(files):
                was = before.get(name)
                if was is not None and was[0] == stats[STAT * number : STAT * number + STAT]:
                    self.learned[path + name] = was[1]
                    continue
                kept.add(name, info)
                if was is not None:
                    self._before[path + name] = kind_of(array("q", was[0])[4]), was[1]
            files = kept
        found = _found(path, base, files)
        for name in links:
            found.append(through_link(path + name, base + name, str(self.root)))
            self.size += found[-1].size
            if name in before:
                self._before[path + name] = found[-1].kind, before[name][1]
        if links:
            folder.names = [*folder.names, *links]
            extra = os.fsencode("".join(f"{name}\0" for name in links))
            stats = listed.stats + bytes(STAT * len(links))  # Links are looked at each time.
            folder.listed = Listed(path, listed.names + extra, stats, listed.size)
        _check_names(path, found)
        self.unread += found

    def _note_gone(self) -> None:
        now = {folder.path: folder for folder in self._folders}
        for path, known in self.index.folders.items():
            folder = now.get(path)
            if folder is not None and folder.known is not None:
                continue
            here = set(folder.names) if folder else set()
            names = os.fsdecode(known.names).split("\0")[:-1]
            self.gone += [path + name for name in names if name not in here]
        self.gone.sort()

    def known_now(self, manifest: str) -> Index:
        """Return the index for the next time; all files must have been read."""
        folders: dict[str, Known] = {}
        for folder in self._folders:
            path, learned = folder.path, self.learned
            if folder.known is not None:
                folders[path] = folder.known
                continue
            digests = b"".join([learned[path + name] for name in folder.names])
            stats = without_young(folder.listed.stats, self.seen)
            folders[path] = Known(folder.listed.names, stats, digests)
        return Index(folders, manifest)


def _found(path: str, base: str, files: Files) -> list[Found]:
    """Return the files of one folder; BadPath for what is none."""
    kinds: dict[int, str] = {}
    for mode in {info.st_mode for info in files.infos}:
        if not stat.S_ISREG(mode):
            for name, info in files:
                refuse_special(path + name, info)
        kinds[mode] = kind_of(mode)
    return [
        Found(path + name, base + name, info.st_size, kinds[info.st_mode]) for name, info in files
    ]


def _check_names(folder: str, found: list[Found]) -> None:
    """Check the paths of files in one folder."""
    start = len(folder)
    names = [one.path[start:] for one in found]
    deep = folder.count("/") > 7  # A path with more names than that is looked at by itself.
    if deep or not are_plain_names([folder[:-1].replace("/", "\0") or "_", *names]):
        for one in found:
            check_path(one.path)
