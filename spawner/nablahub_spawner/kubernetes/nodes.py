"""The cluster's nodes, looked at once for all who ask at the same time.

A look costs as much as there are nodes. When 200 people start their servers at once, each start
asks, and a hub that looked for each would do nothing else for minutes.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from nablahub.core.nodes import Node

#: Seconds that a look at all nodes is good for: spawn pages are loaded more often.
KEPT = 2.0
#: Gets the API's own answer; None when the hub may not have it.
Ask = Callable[[], Awaitable[bytes | None]]
#: By type, why no node can ever give it; None when one can.
Misfits = Mapping[str, str | None]


class Nodes:
    """What was seen of a cluster's nodes last, and what followed from it."""

    def __init__(self) -> None:
        self._until = 0.0
        self._found: list[Node] | None = None
        self._looking: asyncio.Task[list[Node] | None] | None = None
        self._judged: dict[str, tuple[object, list[Node], Misfits]] = {}

    async def now(self, ask: Ask) -> list[Node] | None:
        """Return all nodes, as of two seconds ago or less; None when the hub may not list them.

        Parameters
        ----------
        ask : callable
            Called by one of those who wait at the same time.
        """
        if time.monotonic() < self._until:
            return self._found
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._look(ask))
        return await asyncio.shield(self._looking)  # Who gives up takes it from nobody else.

    async def _look(self, ask: Ask) -> list[Node] | None:
        try:
            answer = await ask()
            # Of many nodes it is long, and who starts a server meanwhile need not wait for it.
            self._found = None if answer is None else await asyncio.to_thread(_read, answer)
            self._until = time.monotonic() + KEPT
            return self._found
        finally:
            self._looking = None

    def judged(
        self, nodes: list[Node], types: object, how: str, judge: Callable[[], Misfits]
    ) -> Misfits:
        """Return what a judgement of some types by some nodes is, made once for each look.

        Parameters
        ----------
        nodes : list of Node
            Those of a look.
        types : object
            The types; the same object as long as they are the same.
        how : str
            What else decides.
        judge : callable
            Judges them.
        """
        known = self._judged.get(how)
        if known is None or known[0] is not types or known[1] is not nodes:
            known = self._judged[how] = (types, nodes, judge())
        return known[2]


def _read(answer: bytes) -> list[Node]:
    return [Node.of(node) for node in json.loads(answer)["items"]]


_of_clients: WeakKeyDictionary[Any, Nodes] = WeakKeyDictionary()


def nodes_of(client: Any) -> Nodes:
    """Return what was seen of the nodes of a client's cluster."""
    return _of_clients.setdefault(client, Nodes())
