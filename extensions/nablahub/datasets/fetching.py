"""The client's half of a download: batches of small files, ranges of large ones, all proved."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from nablahub.core.errors import Conflict, Invalid
from nablahub.core.objects import full_storage
from nablahub.core.transport import Transport
from nablahub.datasets.direct import DirectReader
from nablahub.datasets.errors import BadObject, WouldOverwrite
from nablahub.datasets.manifest import KIND_EXECUTABLE, KIND_FILE, Entry, Parser
from nablahub.datasets.packs import PACK_BYTES, SMALL, PackChecker
from nablahub.datasets.paths import case_twins, check_path, show
from nablahub.datasets.patience import patiently
from nablahub.datasets.sending import Progress, silent
from nablahub.datasets.types import File

BATCH_FILES: Final = 4096
PARTIAL: Final = ".nablahub-part"


class Fetcher:
    """Downloads a version into a folder, file by file.

    A folder that was not there appears whole, by one rename; into one that was there each file
    comes by a rename of its own. What a killed attempt left is checked and kept.

    Parameters
    ----------
    hub : Transport
        How to reach the hub.
    path : str
        The version's place in the API, such as ``/models/mo…/versions/abcdefg``.
    progress : callable
        Called with the bytes done and those of all files.
    """

    def __init__(self, hub: Transport, path: str, progress: Progress = silent) -> None:
        self._hub = hub
        self._path = path
        self._progress = progress
        self._done = 0
        self._total = 0
        self._direct: DirectReader | None = None

    def entries(self) -> list[Entry]:
        """Return all entries of the version, checked as if from a stranger."""
        found = self._hub.pages(f"{self._path}/files", limit=1000)
        return [entry_of(File.model_validate(item)) for item in found]

    def fetch(self, target: Path, *, overwrite: bool = True) -> int:
        """Download everything and return the number of files.

        Raises
        ------
        WouldOverwrite
            When a file is there with other bytes and ``overwrite`` is false.
        Invalid
            When two files would be one on a file system that compares names without case.
        BadObject
            When bytes do not have their digest.
        Conflict
            When the target is a file.
        """
        if target.exists() and not target.is_dir():
            raise Conflict(
                f"{target} is a file, and all files of a version go into a folder.",
                hint="Choose another target, or get one file with --path (path=… in Python).",
            )
        with full_storage(target):
            entries = self.entries()
            fresh = not target.exists()
            if not fresh and not overwrite:
                refuse_others({target / entry.path: entry for entry in entries})
            root = target.with_name(f".{target.name}.{self._name()}{PARTIAL}") if fresh else target
            root.mkdir(parents=True, exist_ok=True)
            _check_case(root, entries)
            self._fill(root, entries, fresh=fresh)
            if fresh:
                root.rename(target)
        return len(entries)

    def fetch_file(self, entry: Entry, target: Path, *, overwrite: bool = True) -> None:
        """Download one file to a name of its own; raises as :meth:`fetch`."""
        if not overwrite:
            refuse_others({target: entry})
        with full_storage(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        self._large(entry, target)

    def _name(self) -> str:
        return "-".join(self._path.split("/")[2::2])

    def _fill(self, root: Path, entries: list[Entry], *, fresh: bool) -> None:
        self._done, self._total = 0, sum(entry.size for entry in entries)
        for folder in sorted({entry.path.rpartition("/")[0] for entry in entries}):
            (root / folder).mkdir(parents=True, exist_ok=True)
        resumed = any(root.iterdir())
        wanted: list[Entry] = []
        for entry in entries:
            if resumed and _is_there(root / entry.path, entry):
                self._report(entry.size)
            else:
                wanted.append(entry)
        self._get(root, wanted, fresh=fresh)

    def _get(self, root: Path, entries: list[Entry], *, fresh: bool) -> None:
        for entry in entries:
            self._large(entry, root / entry.path)

    def _report(self, size: int) -> None:
        self._done += size
        self._progress(self._done, self._total)

    def _large(self, entry: Entry, target: Path) -> None:
        """Download to a file beside the target, go on where it stopped, prove, rename."""
        path = f"{self._path}/files/{quote(entry.path)}"
        partial = target.with_name(f".{entry.md5}{PARTIAL}")
        seen = 0

        def attempt() -> bool:
            nonlocal seen
            md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()

            def take(data: bytes) -> None:
                nonlocal seen
                md5.update(data)
                sha256.update(data)
                self._report(max(file.tell() - seen, 0))
                seen = max(seen, file.tell())

            with partial.open("a+b") as file:
                file.seek(0)
                while data := file.read(1 << 20):
                    take(data)
                start = file.tell()
                headers = {"Range": f"bytes={start}-"} if start else {}
                if start < entry.size:
                    with self._hub.stream("GET", path, headers=headers, tries=1) as answer:
                        for data in answer.iter_bytes():
                            file.write(data)
                            take(data)
            return (md5.hexdigest(), sha256.hexdigest()) == (entry.md5, entry.sha256)

        with full_storage(target):
            if self._direct is not None:  # Then there is nothing left for the hub to send.
                self._direct.large(entry.md5, entry.size, partial)
            if not patiently(attempt):
                partial.unlink()
                raise _wrong(entry)
            _set_mode(partial, entry)
            partial.replace(target)


class BatchFetcher(Fetcher):
    """Downloads a dataset's version: small files many at once."""

    def entries(self) -> list[Entry]:
        """Return all entries of the version, checked as if from a stranger."""

        def read() -> list[Entry]:
            parser = Parser()
            found: list[Entry] = []
            with self._hub.stream("GET", f"{self._path}/manifest", tries=1) as answer:
                for data in answer.iter_bytes():
                    found.extend(parser.feed(data))
            parser.close()
            return found

        return patiently(read)

    def fetch(self, target: Path, *, overwrite: bool = True) -> int:
        """Download everything; see :meth:`Fetcher.fetch`."""
        with closing(DirectReader(self._hub, self._path)) as self._direct:
            return super().fetch(target, overwrite=overwrite)

    def _get(self, root: Path, entries: list[Entry], *, fresh: bool) -> None:
        self._small(root, [entry for entry in entries if entry.size <= SMALL], fresh=fresh)
        super()._get(root, [entry for entry in entries if entry.size > SMALL], fresh=fresh)

    def _small(self, root: Path, entries: list[Entry], *, fresh: bool) -> None:
        """Get batches in a thread, one ahead of the one that is being written."""
        with ThreadPoolExecutor(1, "nablahub-fetch") as pool:
            batches = iter(list(_batches(entries)))
            batch = next(batches, None)
            coming = pool.submit(self._objects, batch) if batch else None
            while batch is not None and coming is not None:
                objects = coming.result()
                following = next(batches, None)
                coming = pool.submit(self._objects, following) if following else None
                for entry in batch:
                    data = objects[entry.md5]
                    if len(data) != entry.size:
                        raise _wrong(entry)
                    _write(root / entry.path, data, entry, direct=fresh)
                self._report(sum(entry.size for entry in batch))
                batch = following

    def _objects(self, batch: list[Entry]) -> dict[str, bytes]:
        sha256 = {entry.md5: entry.sha256 for entry in batch}
        if self._direct is not None and (got := self._direct.small(list(sha256))) is not None:
            for md5, content in got.items():
                if hashlib.sha256(content).hexdigest() != sha256[md5]:
                    raise BadObject(f"The object {md5} arrived with wrong bytes.")
            return got
        data: bytes = self._hub.request("POST", f"{self._path}/objects", body={"md5": list(sha256)})
        checker = PackChecker()
        checker.feed(data)
        found: dict[str, bytes] = {}
        for row in checker.finish():
            md5 = row.md5.hex()
            if row.sha256.hex() != sha256.get(md5):
                raise BadObject(f"The hub sent an object that was not asked for ({md5}).")
            found[md5] = data[row.start : row.start + row.size]
        return found


def entry_of(file: File) -> Entry:
    """Return a file of the API as an entry of a manifest; BadPath when its path can be none."""
    kind = KIND_EXECUTABLE if file.kind == "executable" else KIND_FILE
    return Entry(check_path(file.path), kind, file.size, file.md5, file.sha256)


def refuse_others(entries: Mapping[Path, Entry]) -> None:
    """Raise WouldOverwrite if one of these files is there with other bytes."""
    others = [
        show(str(file))
        for file, entry in entries.items()
        if os.path.lexists(file) and not _is_there(file, entry)
    ]
    if others:
        raise WouldOverwrite(others)


def _batches(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    batch: list[Entry] = []
    size = 0
    for entry in entries:
        if batch and (size + entry.size > PACK_BYTES or len(batch) >= BATCH_FILES):
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += entry.size
    if batch:
        yield batch


def _is_there(file: Path, entry: Entry) -> bool:
    """Whether a file has an entry's bytes already."""
    with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        if file.stat().st_size != entry.size:
            return False
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == entry.sha256
    return False


def _write(target: Path, data: bytes, entry: Entry, *, direct: bool) -> None:
    # In a folder that nobody knows yet a file may be written under its own name: a half one is
    # found out by its digest when the download is taken up again.
    file = target if direct else target.with_name(f".{secrets.token_hex(8)}{PARTIAL}")
    mode = 0o777 if entry.kind == KIND_EXECUTABLE else 0o666
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with open(descriptor, "wb", 0) as opened:  # noqa: PTH123 (it is a descriptor)
            opened.write(data)
        if not direct:
            file.replace(target)
    except BaseException:
        file.unlink(missing_ok=True)
        raise


def _set_mode(file: Path, entry: Entry) -> None:
    if entry.kind == KIND_EXECUTABLE:
        file.chmod(file.stat().st_mode | 0o111)


def _check_case(root: Path, entries: list[Entry]) -> None:
    """Refuse what would silently lose a file where ``A`` and ``a`` are the same."""
    twins = case_twins(entry.path for entry in entries)
    if twins is None:
        return
    probe = root / f".nablahub-Case-{secrets.token_hex(4)}"
    probe.touch()
    try:
        blind = probe.with_name(probe.name.swapcase()).exists()
    finally:
        probe.unlink()
    if blind:
        raise Invalid(
            f"'{show(twins[0])}' and '{show(twins[1])}' would be one file on this disk, which "
            "does not tell capital from small letters.",
            hint="Download to a disk that does.",
        )


def _wrong(entry: Entry) -> BadObject:
    return BadObject(
        f"'{show(entry.path)}' arrived with wrong bytes.", hint="Run the same command again."
    )
