"""Every error code, from the error tree with all modules loaded."""

from __future__ import annotations

import importlib
import pkgutil
import re

from docs._ext import markdown as md
from nablahub.core import errors
from nablahub.service.problems import STATUS

PACKAGES = ("nablahub", "nablahub_hub", "nablahub_spawner", "nablahub_server")
#: These run inside sandboxes or when a schema is migrated, and raise none of these errors.
ELSEWHERE = re.compile(r"nablahub\.(serving|notebook_engine)\b|\.migrations\.|\.__main__$")


#: A section that says what to do about a code.
HEADING = re.compile(r"^### `(\w+)`$", re.MULTILINE)
#: What never comes over HTTP, such as a taken port, has no status of its own.
INTERNAL = 500
#: Where the codes without a section go.
REST = "<!-- made at build: other codes -->"


def tree() -> dict[str, type[errors.NablaError]]:
    """Return every error class of the platform by its code."""
    for package in PACKAGES:
        for found in pkgutil.walk_packages(
            importlib.import_module(package).__path__, f"{package}."
        ):
            if not ELSEWHERE.search(found.name):
                importlib.import_module(found.name)
    return {
        code: cls
        for code, cls in sorted(errors.tree().items())
        if cls.__module__.partition(".")[0] in PACKAGES
    }


def explain(text: str) -> str:
    """Put what each code means below its heading, and the codes without one where the mark is."""
    known = tree()

    def about(found: re.Match[str]) -> str:
        cls = known[found[1]]
        status = f" HTTP {_status(cls)}." if _status(cls) != INTERNAL else ""
        return f"{found[0]}\n\n*{_meaning(cls)}*{status}"

    others = [(md.code(c), _shown(cls), _meaning(cls)) for c, cls in known.items()
              if c not in HEADING.findall(text)]  # fmt: skip
    return HEADING.sub(about, text).replace(
        REST, md.table(("code", "HTTP", "what it means"), others)
    )


def _shown(cls: type[errors.NablaError]) -> str:
    return str(_status(cls)) if _status(cls) != INTERNAL else "–"


def _status(cls: type[errors.NablaError]) -> int:
    return next(STATUS[base] for base in cls.__mro__ if base in STATUS)


def _meaning(cls: type[errors.NablaError]) -> str:
    return " ".join(md.prose(cls.__doc__).partition("\n\n")[0].split())
