"""The catalog in force: what ships, with the administrator's file laid over it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from nablahub.core import adminfile
from nablahub.core.adminfile import Stamp, document, stamp_of
from nablahub.core.specmodel import read
from nablahub.datasets.catalog.errors import BadCatalog, NoSuchEntry
from nablahub.datasets.catalog.form import CatalogFile, Entry

log = logging.getLogger(__name__)
_PACKAGE = "nablahub.datasets.catalog"


def parse(text: str, place: str, base: Mapping[str, Entry]) -> dict[str, Entry]:
    """Return the catalog that a file's text makes over another one.

    Raises
    ------
    BadCatalog
        With every fault, each with its line.
    """
    source = document(text, place, BadCatalog, first="datasets")
    if source is None:
        return dict(base)
    form, faults = read(source, CatalogFile)
    found = dict(base)
    for name, entry in (form.datasets if form is not None else {}).items():
        if entry is None:
            found.pop(name, None)
            continue
        found[name] = entry
        targets = [file.target for file in entry.files]
        for index, target in enumerate(targets):
            if target in targets[:index]:
                faults.append(source.fault(
                    ("datasets", name, "files", index), f"'{target}' comes twice in '{name}'.",
                    hint="Give one of them another `path`.",
                ))  # fmt: skip
    if faults:
        raise BadCatalog(place, faults)
    return found


def read_text(path: Path) -> str:
    """Return what a file holds; BadCatalog when it cannot be read."""
    return adminfile.read_text(path, BadCatalog)


def shipped() -> dict[str, Entry]:
    """Return the entries that ship."""
    return parse((files(_PACKAGE) / "shipped.yaml").read_text(encoding="utf-8"), "shipped.yaml", {})


def bundled(name: str) -> bytes:
    """Return a file that ships."""
    return (files(_PACKAGE) / "data" / name).read_bytes()


@dataclass(frozen=True)
class Offer:
    """What the catalog is at one moment, and why the file as it is now is not in force, if so."""

    entries: Mapping[str, Entry]
    problem: BadCatalog | None = None

    def entry(self, name: str) -> Entry:
        """Return an entry; NoSuchEntry when there is none of that name."""
        found = self.entries.get(name)
        if found is None:
            raise NoSuchEntry(name, self.entries)
        return found


class LiveCatalog:
    """The catalog, read again at the next look after its file changed.

    One that cannot be used leaves what was in force before.

    Parameters
    ----------
    path : pathlib.Path
        The administrator's file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._stamp: Stamp = None
        self._offer: Offer | None = None

    def now(self) -> Offer:
        """Return what there is now."""
        with self._lock:
            stamp = stamp_of(self.path)
            if self._offer is None or stamp != self._stamp:
                self._offer, self._stamp = self._read(stamp), stamp
            return self._offer

    def _read(self, stamp: Stamp) -> Offer:
        base = shipped()
        if stamp is None:
            return Offer(base)
        try:
            return Offer(parse(read_text(self.path), str(self.path), base))
        except BadCatalog as problem:
            log.error("%s What was in force before stays.", problem.story)
            return Offer(self._offer.entries if self._offer else base, problem)
