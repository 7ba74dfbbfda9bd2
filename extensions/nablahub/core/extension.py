"""How a concept joins the platform: one object that says where its parts are.

Everything is named by string, so that the command line loads no database and the service no
command line. Our own concepts come in through the same entry-point group as anybody's.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

GROUP = "nablahub.extensions"


@dataclass(frozen=True)
class Extension:
    """Where the parts of one concept are; all but the name are optional.

    Parameters
    ----------
    name : str
        The concept's noun in the plural, such as ``"datasets"``.
    requires : tuple of str
        Concepts whose services must be there first.
    service : str
        ``"package.module:Class"``; built with the Context.
    operations : str or tuple of str
        Module whose functions carry ``@operation`` or ``@stream``, or several.
    migrations : str
        Package that holds the Alembic revisions of its tables.
    tables : str
        Module that defines its tables.
    api : mapping of str to str
        Attribute of the client → ``"package.module:Class"``.
    commands : mapping of str to str
        Word of the command line → ``"package.module:command"``; two words, ``"datasets mount"``,
        add a command to another extension's.
    help : mapping of str to str
        Word of the command line → one line about it.
    """

    name: str
    requires: tuple[str, ...] = ()
    service: str | None = None
    operations: str | tuple[str, ...] | None = None
    migrations: str | None = None
    tables: str | None = None
    api: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)
    help: Mapping[str, str] = field(default_factory=dict)


def load(reference: str) -> Any:
    """Load ``"package.module:name"``, or a module when there is no colon."""
    module, _, name = reference.partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, name) if name else loaded


def discover() -> list[Extension]:
    """Return the installed extensions, each after those it requires.

    Inside a sandbox only the package's folder is there, without the metadata that holds entry
    points: then our own concepts are found in the folder.

    Raises
    ------
    ValueError
        When two have one name, or one requires what is not installed.
    """
    found: dict[str, Extension] = {}
    references = [entry.value for entry in entry_points(group=GROUP)] or _in_folder()
    for reference in references:
        extension: Extension = load(reference)
        if extension.name in found:
            raise ValueError(f"two installed extensions are called {extension.name!r}")
        found[extension.name] = extension
    ordered: dict[str, Extension] = {}

    def place(name: str, wanted_by: str, path: tuple[str, ...]) -> None:
        if name in ordered:
            return
        if name not in found or name in path:
            raise ValueError(f"extension {wanted_by!r} requires {name!r}: missing or circular")
        for other in found[name].requires:
            place(other, name, (*path, name))
        ordered[name] = found[name]

    for name in sorted(found):
        place(name, name, ())
    return list(ordered.values())


def _in_folder() -> list[str]:
    root = Path(__file__).resolve().parent.parent
    return [
        f"{root.name}.{path.parent.name}.extension:extension"
        for path in sorted(root.glob("*/extension.py"))
        if path.resolve() != Path(__file__).resolve()
    ]
