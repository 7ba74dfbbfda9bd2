"""The reference of the Python client and the magics, from the classes themselves."""

from __future__ import annotations

import inspect
from typing import Any

from docs._ext import markdown as md
from nablahub.core.extension import discover, load
from nablahub.magics.nabla import HELP


def parts() -> dict[str, Any]:
    """Return the client's attributes, ``hub.<name>``, with their classes."""
    return {name: load(place) for extension in discover() for name, place in extension.api.items()}


def methods(cls: Any) -> dict[str, Any]:
    """Return a class's public methods in the order of its source."""
    found = {n: m for n, m in inspect.getmembers(cls, inspect.isfunction) if not n.startswith("_")}
    return dict(sorted(found.items(), key=lambda item: item[1].__code__.co_firstlineno))


def reference() -> str:
    """Return a section for each part of the client."""
    found = []
    for name, cls in parts().items():
        rows = [
            (md.code(f"{method}{_signature(function)}"), _sentence(function))
            for method, function in methods(cls).items()
        ]
        found += [f"### hub.{name}", md.table(("call", "what it does"), rows)]
    return md.sections(*found)


def magics() -> str:
    """Return the help of the magics."""
    return md.block(HELP)


def _signature(function: Any) -> str:
    signature = inspect.signature(function)
    kept = [p.replace(annotation=p.empty) for n, p in signature.parameters.items() if n != "self"]
    return str(signature.replace(parameters=kept, return_annotation=signature.empty))


def _sentence(function: Any) -> str:
    return " ".join(md.prose(function.__doc__).partition("\n\n")[0].split())
