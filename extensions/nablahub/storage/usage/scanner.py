"""The thread that measures everybody's folders, over and over, with a small part of one CPU."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from nablahub.core import usage
from nablahub.core.settings import Settings
from nablahub.core.usage import FolderUsage
from nablahub.storage.usage.measuring import measure

#: Part of one CPU that measuring takes at most.
DUTY: Final = 0.05
log = logging.getLogger(__name__)


class Scanner:
    """Knows what folders of teams and users take.

    Parameters
    ----------
    settings : Settings
        Where they are, their quotas, and how often they are measured.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._file = settings.state.usage
        self._found = usage.load(self._file)
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._round = threading.Condition()
        self._rounds = 0
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="nablahub-usage", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End, and wait for that."""
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def of_team(self, team_id: str) -> FolderUsage:
        """Return what a team's ``/storage`` takes."""
        return self._of(f"storage/{team_id}", self._settings.storage_quota_bytes)

    def of_home(self, folder: str) -> FolderUsage:
        """Return what a home takes, by the name of its folder."""
        return self._of(f"homes/{folder}", self._settings.home_quota_bytes)

    def _of(self, name: str, quota: int) -> FolderUsage:
        return self._found.get(name, FolderUsage(quota=quota))

    def measure_again(self, timeout: float = 60.0) -> None:
        """Wait until everything has been measured once more."""
        with self._round:
            goal = self._rounds + (2 if self._busy else 1)
            self._wake.set()
            self._round.wait_for(lambda: self._rounds >= goal, timeout)

    _busy = False

    def _run(self) -> None:
        while not self._stop.is_set():
            self._wake.clear()
            with self._round:
                self._busy = True
            self._measure_all()
            with self._round:
                self._busy = False
                self._rounds += 1
                self._round.notify_all()
            self._wake.wait(self._settings.usage_scan_seconds)

    def _measure_all(self) -> None:
        found = {}
        for name, folder, quota in self._folders():
            measured = measure(folder, quota, self._pause)
            if measured is None:
                return
            found[name] = measured
            self._found = {**self._found, name: measured}
        self._found = found
        try:
            usage.save(self._file, found)
        except OSError as error:  # The disk is full: just then others want to read it.
            log.warning("What folders take could not be kept: %s", error)

    def _folders(self) -> Iterator[tuple[str, Path, int]]:
        state = self._settings.state
        for root, quota in (
            (state.storage, self._settings.storage_quota_bytes),
            (state.homes, self._settings.home_quota_bytes),
        ):
            for folder in sorted(root.iterdir()) if root.is_dir() else []:
                if folder.is_dir() and not folder.is_symlink():
                    yield f"{root.name}/{folder.name}", folder, quota

    def _pause(self, worked: float) -> bool:
        """Rest for as long as keeps the part of a CPU small; True when all shall end."""
        return self._stop.wait(worked * (1 / DUTY - 1))
