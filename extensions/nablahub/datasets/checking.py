"""Comparing a copy of a version with the hashes of its files."""

from __future__ import annotations

from pathlib import Path

from nablahub.datasets.fetching import BatchFetcher, is_there


class FolderChecker(BatchFetcher):
    """Reads a folder and tells which files of a version it has not as they are."""

    def differing(self, folder: Path) -> list[str]:
        """Return the paths that the folder lacks or has with other bytes; it may have more."""
        entries = self.entries()
        self._done, self._total = 0, sum(entry.size for entry in entries)
        wrong: list[str] = []
        for entry in entries:
            if not is_there(folder / entry.path, entry):
                wrong.append(entry.path)
            self._report(entry.size)
        return wrong
