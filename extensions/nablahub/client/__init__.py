"""The Python client: ``hub = nablahub.connect()``, then ``hub.projects.list()`` and so on."""

from __future__ import annotations

from typing import Any

from nablahub.core.extension import discover, load
from nablahub.core.state import StateDir
from nablahub.core.transport import ServerEvent, Transport
from nablahub.core.transport import connect as find_transport

__all__ = ["Hub", "ServerEvent", "Transport", "connect"]


class Hub:
    """A hub as one user sees it; each concept is an attribute (``hub.datasets`` …).

    Parameters
    ----------
    transport : Transport
        The connection.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._places = {
            name: place for extension in discover() for name, place in extension.api.items()
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._places:
            known = ", ".join(sorted(self.__dict__.get("_places", {})))
            raise AttributeError(f"the hub has no {name!r}; it has {known}")
        part = load(self._places[name])(self.transport)
        setattr(self, name, part)
        return part

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._places]

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self.transport.close()

    def whoami(self) -> dict[str, Any]:
        """Return whom the token stands for."""
        found: dict[str, Any] = self.transport.get("/whoami")
        return found


def connect(
    url: str | None = None, token: str | None = None, *, state: StateDir | None = None
) -> Hub:
    """Find the hub and return a client of it; see :func:`nablahub.core.transport.connect`."""
    return Hub(find_transport(url, token, state=state))
