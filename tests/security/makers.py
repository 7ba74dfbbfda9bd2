"""Makers of requests about what a world has."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from tests.security.world import World, revision


@dataclass
class Request:
    """One request below the service's root."""

    path: str
    body: Any = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)


Maker = Callable[[World], Request]


def of(path: str, body: Any = None, /, **query: str) -> Maker:
    """Return a maker whose path names fields of the world, like ``/jobs/{job}``."""
    return lambda w: Request(path.format(**vars(w)), body, query=query)


def listed(path: str) -> Maker:
    """Return a maker of a list of the world's project."""
    return lambda w: Request(path, query={"project": w.project})


def patch(path: str, body: Any) -> Maker:
    """Return a maker of an update of what is there."""

    def make(w: World) -> Request:
        place = path.format(**vars(w))
        return Request(place, body, headers={"If-Match": revision(w.hub, place)})

    return make


def fresh(path: str, make_id: Callable[[World], str], body: Any = None) -> Maker:
    """Return a maker for a thing that is used up by the request, made anew each time."""
    return lambda w: Request(path.format(**{**vars(w), "new": make_id(w)}), body)


def in_project(path: str, body: Callable[[World], Mapping[str, Any]]) -> Maker:
    """Return a maker that creates something in the world's project."""
    return lambda w: Request(path, dict(body(w)))


def unique() -> str:
    """Return a name that nobody has."""
    return f"n-{uuid4()}"
