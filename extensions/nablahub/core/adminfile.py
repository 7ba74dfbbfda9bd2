"""Administrators' YAML files that may be edited while the hub runs: reading, seeing a change."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from nablahub.core.errors import Fault, Invalid
from nablahub.core.yamlspec import Document, MalformedSpec, load

#: What a file looks like from outside: it is read again when this changes.
Stamp = tuple[int, int, int] | None


class BadFile(Invalid):
    """An administrator's file cannot be used."""

    code = "bad_file"
    #: The command that tells whether such a file is sound.
    check: ClassVar[str] = ""

    def __init__(self, place: str, faults: list[Fault], hint: str = "") -> None:
        faults = sorted(faults, key=lambda fault: (fault.line or 0, fault.column or 0))
        count = f"{len(faults)} things in it are wrong" if len(faults) > 1 else "it has a fault"
        hint = hint or f"Mend it; `{self.check} {place}` tells whether it is sound."
        super().__init__(f"{place} cannot be used: {count}.", hint=hint, errors=faults)
        self.place = place

    @property
    def story(self) -> str:
        """All of it on one line, for a log, and for answers that have room for one."""
        faults = "; ".join(str(fault).rstrip(".") for fault in self.errors)
        return f"{self.detail.rstrip('.')}: {faults}."


def stamp_of(path: Path) -> Stamp:
    """Return what a file looks like from outside; None when it is not there."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError:  # such as a folder that we may not enter; reading it will say so
        return (0, 0, 0)
    return (found.st_mtime_ns, found.st_size, found.st_ino)


def read_text(path: Path, bad: type[BadFile]) -> str:
    """Return what a file holds; ``bad`` is raised when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        hint = "Let the hub's own user read it, as UTF-8."
        raise bad(str(path), [Fault(f"It cannot be read: {reason}.")], hint) from error


def document(text: str, place: str, bad: type[BadFile], *, first: str) -> Document | None:
    """Return the mapping that a text holds; None when all in it is commented out.

    Parameters
    ----------
    text : str
        YAML.
    place : str
        What errors call the file.
    bad : type of BadFile
        What is raised when it is malformed, or no mapping.
    first : str
        The key that it begins with.
    """
    if not any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines()):
        return None
    try:
        source = load(text)
    except MalformedSpec as error:
        faults = list(error.errors) or [Fault(error.detail, hint=error.hint)]
        raise bad(place, faults) from error
    if not isinstance(source.data, dict):
        fault = source.fault((), "The file must be a mapping.", hint=f"Begin with `{first}:`.")
        raise bad(place, [fault])
    return source
