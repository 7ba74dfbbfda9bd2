"""The client's half of a download: batches of small files, ranges of large ones, all proved."""

from __future__ import annotations

import hashlib
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from nablahub.core.errors import Conflict, Invalid
from nablahub.core.objects import full_storage, sync_files
from nablahub.core.transport import Transport
from nablahub.datasets.errors import BadObject, WouldOverwrite
from nablahub.datasets.manifest import KIND_EXECUTABLE, KIND_FILE, Entry, Parser
from nablahub.datasets.packs import SMALL
from nablahub.datasets.paths import case_twins, check_path, show
from nablahub.datasets.patience import patiently
from nablahub.datasets.planning import Job, plan, read_tables
from nablahub.datasets.pools import wait_all
from nablahub.datasets.sending import Progress, silent
from nablahub.datasets.workers import Workers

if TYPE_CHECKING:
    from nablahub.datasets.direct import DirectReader

#: The header that says that the store is reached by signed URLs.
DIRECT: Final = "X-Nablahub-Direct"
#: Packs that are on their way while as many are written as there are processors.
COMING: Final = 2
LARGE_AT_ONCE: Final = 2
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
        self._lock = threading.Lock()
        self._done = 0
        self._total = 0
        self._direct: DirectReader | None = None

    def entries(self) -> list[Entry]:
        """Return all entries of the version, checked as if from a stranger."""
        found = self._hub.pages(f"{self._path}/files", limit=1000)
        return [entry_from(item) for item in found]

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
            When the target is a file, or has a folder where a file goes or the other way round.
        """
        if target.exists() and not target.is_dir():
            raise Conflict(
                f"{target} is a file, and all files of a version go into a folder.",
                hint="Choose another target, or get one file with --path (path=… in Python).",
            )
        with full_storage(target):
            entries = self.entries()
            fresh = not target.exists()
            if not fresh:
                _refuse_other_kinds(target, entries)
            if not fresh and not overwrite:
                refuse_others({target / entry.path: entry for entry in entries})
            root = target.with_name(f".{target.name}.{self._name()}{PARTIAL}") if fresh else target
            root.mkdir(parents=True, exist_ok=True)
            _check_case(root, entries)
            self._fill(root, entries, fresh=fresh)
            if fresh:
                sync_files(root)
                root.rename(target)
        return len(entries)

    def fetch_file(self, entry: Entry, target: Path, *, overwrite: bool = True) -> None:
        """Download one file to a name of its own, or into a folder; raises as :meth:`fetch`."""
        target = file_target(target, entry.path)
        if target.is_dir():
            raise _is_folder(target)
        if not overwrite:
            refuse_others({target: entry})
        with full_storage(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        self._large(entry, target)

    def _name(self) -> str:
        return "-".join(self._path.split("/")[2::2])

    def _fill(self, root: Path, entries: list[Entry], *, fresh: bool) -> None:
        self._done, self._total = 0, sum(entry.size for entry in entries)
        resumed = any(root.iterdir())
        for folder in sorted({entry.path.rpartition("/")[0] for entry in entries}):
            (root / folder).mkdir(parents=True, exist_ok=True)
        wanted: list[Entry] = []
        for entry in entries:
            if resumed and is_there(root / entry.path, entry):
                self._report(entry.size)
            else:
                wanted.append(entry)
        self._get(root, wanted, fresh=fresh)

    def _get(self, root: Path, entries: list[Entry], *, fresh: bool) -> None:
        for entry in entries:
            self._large(entry, root / entry.path)

    def _report(self, size: int) -> None:
        with self._lock:
            self._done += size
            self._progress(self._done, self._total)

    def _large(self, entry: Entry, target: Path) -> None:
        """Download to a file beside the target, go on where it stopped, prove, rename."""
        path = f"{self._path}/files/{quote(entry.path)}"
        partial = target.with_name(f".{entry.md5}{PARTIAL}")
        seen = 0

        def attempt() -> bool:
            nonlocal seen
            proof = hashlib.sha256()  # Which stands for the md5, too: the hub has seen both.

            def take(data: bytes) -> None:
                nonlocal seen
                proof.update(data)
                self._report(max(file.tell() - seen, 0))
                seen = max(seen, file.tell())

            with partial.open("a+b") as file:
                file.seek(0)
                while data := file.read(1 << 20):
                    take(data)
                if (start := file.tell()) < entry.size:
                    with self._rest(entry, path, start) as coming:
                        for data in coming:
                            file.write(data)
                            take(data)
            return proof.hexdigest() == entry.sha256

        with full_storage(target):
            if not patiently(attempt, lambda: seen):
                partial.unlink()
                raise _wrong(entry)
            _set_mode(partial, entry)
            partial.replace(target)

    @contextmanager
    def _rest(self, entry: Entry, path: str, start: int) -> Iterator[Iterator[bytes]]:
        """Give the bytes of a large file from ``start`` on, from the store or else from the hub."""
        direct = self._direct
        coming = None if direct is None else direct.large(entry.md5, entry.size, start)
        if coming is not None:
            yield coming
            return
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._hub.stream("GET", path, headers=headers, tries=1) as answer:
            yield answer.iter_bytes()


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

    def _get(self, root: Path, entries: list[Entry], *, fresh: bool) -> None:
        small = [entry for entry in entries if entry.size <= SMALL]
        large = [entry for entry in entries if entry.size > SMALL]
        jobs = patiently(lambda: self._plan(small))
        try:
            self._get_all(root, jobs, large, fresh=fresh)
        finally:
            if self._direct is not None:
                self._direct.close()

    def _get_all(self, root: Path, jobs: list[Job], large: list[Entry], *, fresh: bool) -> None:
        self._small(root, jobs, fresh=fresh)
        alike: dict[str, list[Entry]] = {}
        for entry in large:
            alike.setdefault(entry.md5, []).append(entry)
        with ThreadPoolExecutor(LARGE_AT_ONCE, "nablahub-fetch") as pool:
            wait_all([pool.submit(self._one_by_one, root, same) for same in alike.values()])

    def _one_by_one(self, root: Path, same: list[Entry]) -> None:
        """Get large files of the same bytes: those of one folder share the file they begin as."""
        for entry in same:
            self._large(entry, root / entry.path)

    def _small(self, root: Path, jobs: list[Job], *, fresh: bool) -> None:
        """Get what of the packs is wanted, and write files while more is coming."""
        if not jobs:
            return
        with Workers(sum(len(job.files) for job in jobs)) as workers:
            threads = min(max(workers.count, 1) + COMING, len(jobs))
            with ThreadPoolExecutor(threads, "nablahub-fetch") as pool:
                wait_all([pool.submit(self._job, workers, root, job, fresh) for job in jobs])

    def _plan(self, entries: list[Entry]) -> list[Job]:
        jobs, missing = self._look_up(entries)
        if missing:
            raise _wrong(missing[0])
        return jobs

    def _look_up(self, entries: list[Entry]) -> tuple[list[Job], list[Entry]]:
        with self._hub.stream("GET", f"{self._path}/tables", tries=1) as answer:
            if answer.headers.get(DIRECT) and self._direct is None:
                self._direct = _direct_reader(self._hub, self._path)
            return plan(entries, read_tables(answer.iter_bytes()))

    def _range(self, job: Job) -> bytes:
        if not job.size:
            return b""
        headers = {"Range": f"bytes={job.start}-{job.start + job.size - 1}"}
        data: bytes = self._hub.request("GET", f"{self._path}/packs/{job.pack}", headers=headers)
        return data

    def _from_store(self, direct: DirectReader, job: Job) -> tuple[bytes, list[int]]:
        """Get a job's objects by signed URLs; return their bytes and where each file's begin."""
        objects = direct.small(list(dict.fromkeys(entry.md5 for entry, _ in job.files))) or {}
        places: dict[str, int] = {}
        size = 0
        for md5, data in objects.items():
            places[md5] = size
            size += len(data)
        return b"".join(objects.values()), [places[entry.md5] for entry, _ in job.files]

    def _job(self, workers: Workers, root: Path, job: Job, fresh: bool) -> None:
        starts = [start for _, start in job.files]
        if self._direct is None:
            data = self._range(job)
        else:
            data, starts = self._from_store(self._direct, job)
        base = f"{root}/"
        # In a folder that nobody knows yet a file may be written under its own name: a half one
        # is found out by its digest when the download is taken up again.
        names = [
            base + entry.path if fresh else f"{base}{_beside(entry.path)}" for entry, _ in job.files
        ]
        rows = [
            (start, entry.size, bytes.fromhex(entry.sha256), _file_mode(entry), name)
            for (entry, _), start, name in zip(job.files, starts, names, strict=True)
        ]
        wrong = set(workers.write(rows, data))
        for (entry, _), name in zip(job.files, names, strict=True):
            if wrong and name in wrong:
                raise _wrong(entry)
            if not fresh:
                os.replace(name, base + entry.path)  # noqa: PTH105 (for each of many files)
        self._report(sum([entry.size for entry, _ in job.files]))


def file_target(target: Path, path: str) -> Path:
    """Return where one file of a version goes: into a folder that is there, as cp does."""
    return target / path.rpartition("/")[2] if target.is_dir() else target


def _direct_reader(hub: Transport, path: str) -> DirectReader:
    # Loaded where it is needed: with the API's types it takes a while.
    from nablahub.datasets.direct import DirectReader

    return DirectReader(hub, path)


def entry_from(item: Mapping[str, Any]) -> Entry:
    """Return a file as the API shows it as an entry of a manifest; BadPath when it can be none."""
    kind = KIND_EXECUTABLE if item["kind"] == "executable" else KIND_FILE
    return Entry(check_path(item["path"]), kind, item["size"], item["md5"], item["sha256"])


def _refuse_other_kinds(root: Path, entries: list[Entry]) -> None:
    """Raise Conflict where a folder is in a file's place, or a file in a folder's."""
    for folder in {entry.path.rpartition("/")[0] for entry in entries} - {""}:
        for place in (root / folder, *(root / folder).parents):
            if place == root or place.is_dir():
                break
            if os.path.lexists(place):
                raise Conflict(
                    f"{show(str(place))} is a file, and a folder of that name would come in its "
                    "place.",
                    hint="Choose another target, or move the file away.",
                )
    for entry in entries:
        if (root / entry.path).is_dir():
            raise _is_folder(root / entry.path)


def _is_folder(place: Path) -> Conflict:
    return Conflict(
        f"{show(str(place))} is a folder, and a file of that name would come in its place.",
        hint="Choose another target, or move the folder away.",
    )


def refuse_others(entries: Mapping[Path, Entry]) -> None:
    """Raise WouldOverwrite if one of these files is there with other bytes."""
    others = [
        show(str(file))
        for file, entry in entries.items()
        if os.path.lexists(file) and not is_there(file, entry)
    ]
    if others:
        raise WouldOverwrite(others)


def is_there(file: Path, entry: Entry) -> bool:
    """Whether a file has an entry's bytes already."""
    with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
        if file.stat().st_size != entry.size:
            return False
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest() == entry.sha256
    return False


def _beside(path: str) -> str:
    """Return a new name in the folder of a path."""
    folder, slash, _ = path.rpartition("/")
    return f"{folder}{slash}.{secrets.token_hex(8)}{PARTIAL}"


def _file_mode(entry: Entry) -> int:
    return 0o777 if entry.kind == KIND_EXECUTABLE else 0o666


def _set_mode(file: Path, entry: Entry) -> None:
    if entry.kind == KIND_EXECUTABLE:
        file.chmod(file.stat().st_mode | 0o111)


def _check_case(root: Path, entries: list[Entry]) -> None:
    """Refuse what would silently lose a file where ``A`` and ``a`` are the same."""
    probe = root / f".nablahub-Case-{secrets.token_hex(4)}"
    probe.touch()
    try:
        blind = probe.with_name(probe.name.swapcase()).exists()
    finally:
        probe.unlink()
    if blind and (twins := case_twins(entry.path for entry in entries)) is not None:
        raise Invalid(
            f"'{show(twins[0])}' and '{show(twins[1])}' would be one file on this disk, which "
            "does not tell capital from small letters.",
            hint="Download to a disk that does.",
        )


def _wrong(entry: Entry) -> BadObject:
    return BadObject(
        f"'{show(entry.path)}' arrived with wrong bytes, or not at all.",
        hint="Run the same command again. If that does not help, the store has lost them: see "
        "`nablahub datasets verify`.",
    )
