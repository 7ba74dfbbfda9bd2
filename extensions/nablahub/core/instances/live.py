"""The catalogue in force: an instance types file that may be edited while the hub runs."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nablahub.core.adminfile import Stamp, stamp_of
from nablahub.core.instances.reading import CATALOGUE, BadInstanceTypes, parse, read_text
from nablahub.core.instances.types import InstanceType

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Offer:
    """What a hub offers at one moment.

    Parameters
    ----------
    types : mapping of str to InstanceType
        The instance types by name, in the order they are shown.
    problem : BadInstanceTypes or None
        Why the file as it is now is not in force; None when it is.
    """

    types: Mapping[str, InstanceType] = field(default_factory=lambda: CATALOGUE)
    problem: BadInstanceTypes | None = None


class LiveCatalogue:
    """The instance types of a hub, read again at the next look after their file changed.

    A file that is not there leaves the shipped types. One that cannot be used leaves what was in
    force before, also over a restart; where nothing was, no type is offered at all, since the
    shipped ones would be given to users whom the file may keep from them.

    Parameters
    ----------
    path : pathlib.Path
        The administrator's file.
    kept : pathlib.Path or None
        Where the text that was last found sound is kept; None keeps it nowhere.
    """

    def __init__(self, path: Path, kept: Path | None = None) -> None:
        self.path = path
        self._kept = kept
        self._lock = threading.Lock()
        self._stamp: Stamp = None
        self._offer: Offer | None = None

    def now(self) -> Offer:
        """Return what is offered now. It costs a ``stat`` while the file stays as it is."""
        stamp = stamp_of(self.path)
        offer = self._offer
        if offer is not None and stamp == self._stamp:
            return offer
        with self._lock:
            if self._offer is None or stamp != self._stamp:
                self._offer = self._read(stamp)
                self._stamp = stamp
            return self._offer

    @property
    def types(self) -> Mapping[str, InstanceType]:
        """The instance types that are offered now, by name."""
        return self.now().types

    def _read(self, stamp: Stamp) -> Offer:
        if stamp is None:
            if self._offer is not None:
                log.info("%s is gone: the shipped instance types are offered", self.path)
            self._keep(None)
            return Offer()
        try:
            text = read_text(self.path)
            types = parse(text, str(self.path))
        except BadInstanceTypes as problem:
            return self._last_good(problem)
        log.info("%s offers %d instance types", self.path, len(types))
        self._keep(text)
        return Offer(types)

    def _last_good(self, problem: BadInstanceTypes) -> Offer:
        types = self._of_last_time() if self._offer is None else self._offer.types
        what = "Those of before stay in force." if types else "No instance type is offered."
        log.error("%s %s", problem.story, what)
        return Offer(types, problem)

    def _of_last_time(self) -> Mapping[str, InstanceType]:
        try:
            return parse(self._kept.read_text(encoding="utf-8"), "") if self._kept else {}
        except (OSError, UnicodeDecodeError, BadInstanceTypes):
            return {}

    def _keep(self, sound: str | None) -> None:
        """Remember a sound file beyond our own life. A full disk must not stop anybody's work."""
        if self._kept is None:
            return
        try:
            if sound is None:
                self._kept.unlink(missing_ok=True)
                return
            self._kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, made = tempfile.mkstemp(dir=self._kept.parent, prefix=self._kept.name)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(sound)
            Path(made).replace(self._kept)
        except OSError as error:
            log.warning("The instance types of %s could not be kept: %s", self.path, error)
