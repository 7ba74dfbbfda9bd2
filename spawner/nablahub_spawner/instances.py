"""The choice of an instance type: what every spawner of ours offers, refuses and remembers."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from traitlets import Integer, Unicode
from traitlets.config import Configurable

from nablahub.core.instances import (
    DEFAULT_INSTANCE,
    GIB,
    InstanceType,
    LiveCatalogue,
    Machine,
    Offer,
    duration,
    suggestion,
)
from nablahub_spawner import INSTANCE, form
from nablahub_spawner.failures import SpawnFailed

NOTICE = "notice"


@functools.cache
def live(path: Path, kept: Path | None) -> LiveCatalogue:
    """Return the one catalogue of a file: all servers of a hub share it."""
    return LiveCatalogue(path, kept)


class InstanceChoice(Configurable):
    """What a spawner does about instance types; stands before JupyterHub's class among the bases.

    A running server keeps the numbers it was started with, whatever becomes of the file.
    """

    instance_types_file = Unicode(
        config=True, help="YAML file of instance types; empty: those that ship."
    )
    default_instance_type = Unicode(
        DEFAULT_INSTANCE, config=True, help="Instance type preselected on the first visit."
    )

    idle_timeout = Integer(
        0,
        min=0,
        config=True,
        help="Seconds without activity after which the hub stops servers of types that say "
        "nothing about it; 0: it does not. The hub's culler does it: this tells servers of it.",
    )
    other_idle_timeout = Integer(
        0,
        min=0,
        config=True,
        help="Seconds without activity after which an idle culler of the hub's that knows nothing "
        "of instance types stops any server; 0: there is none. Servers are told of it.",
    )

    @property
    def kept_instance_types(self) -> Path | None:
        """Where the instance types that were last found sound are kept; None for nowhere."""
        return None

    #: What the server that runs was given.
    kind: InstanceType | None = None
    #: Told on the next spawn page.
    notice: str = ""
    # Of JupyterHub's Spawner:
    user: Any
    orm_spawner: Any
    user_options: Any

    #: Who gives instances, as sentences begin.
    giver = "This machine"

    async def misfits(self, types: Mapping[str, InstanceType]) -> Mapping[str, str | None]:
        """Return for each type why it cannot be given, as a sentence; None when it can."""
        machine = await asyncio.to_thread(Machine.detect)
        return {name: kind.fits(machine) for name, kind in types.items()}

    def offer(self) -> Offer:
        """Return the instance types there are now."""
        if not self.instance_types_file:
            return Offer()
        return live(Path(self.instance_types_file), self.kept_instance_types).now()

    def kept_from(self, kind: InstanceType) -> str | None:
        """Return why the server's user may not take an instance type; None when they may."""
        return kind.kept_from(self.user.name, {group.name for group in self.user.groups})

    async def cards_form(self) -> str:
        """Return the spawn page's form."""
        last = (self.orm_spawner.user_options or {}).get(form.FIELD) if self.orm_spawner else None
        offer = self.offer()
        misfits = await self.misfits(offer.types)
        found = form.cards(
            offer.types,
            None,
            last,
            self.default_instance_type,
            lambda kind: self.kept_from(kind) or misfits[kind.name],
        )
        told = offer.problem.story if offer.problem is not None and self.user.admin else ""
        notice = " ".join(part for part in (self.notice, self.room()) if part)
        return form.render(found, notice=notice, warning=told)

    def room(self) -> str:
        """Return what to tell of the room for the user's files; empty when there is no need."""
        return ""

    def read_form(self, data: dict[str, list[str]]) -> dict[str, Any]:
        """Return the options of a form that was sent; SpawnFailed when it names no type."""
        name = (data.get(form.FIELD) or [self.default_instance_type])[0]
        return {form.FIELD: _of(self.offer().types, name).name}

    async def choose(self, options: Mapping[str, Any]) -> InstanceType:
        """Return the instance type of the user's options and set the limits that follow.

        When nobody chose, it is the default, else the first that can be had.

        Raises
        ------
        SpawnFailed
            When there is none of that name, it is kept for others, or it cannot be given.
        """
        try:
            return await self._choose(options)
        except SpawnFailed:
            # JupyterHub takes the last choice for a start without one: not one that was refused.
            if self.orm_spawner:
                kept = {k: v for k, v in self.user_options.items() if k != form.FIELD}
                self.orm_spawner.user_options = kept
            raise

    async def _choose(self, options: Mapping[str, Any]) -> InstanceType:
        types = self.offer().types
        misfits = await self.misfits(types)
        mine = [name for name, kind in types.items() if self.kept_from(kind) is None]
        possible = [name for name in mine if misfits[name] is None]
        asked = options.get(form.FIELD)
        if asked is None:
            wanted = (self.default_instance_type, *possible)
            asked = next((n for n in wanted if n in possible), self.default_instance_type)
        kind = _of(types, str(asked))
        obstacle, said = self.kept_from(kind), f"You cannot take {kind.name}"
        if obstacle is None:
            obstacle, said = misfits[kind.name], f"{self.giver} cannot give {kind.name}"
        if obstacle is not None:
            other = suggestion(None, [types[name] for name in possible])
            way_out = f"Choose {other.name}, which fits." if other else ""
            raise SpawnFailed(f"{said}: {obstacle}", way_out, reason="instance")
        self.kind, self.notice = kind, ""
        self.limit_to(kind)
        return kind

    def limit_to(self, kind: InstanceType) -> None:
        """Set what the server may use."""
        self.mem_limit = int(kind.memory_gib * GIB)
        self.cpu_limit = float(kind.cpus)

    # -- what the hub's database keeps ------------------------------------------------------------

    def get_state(self) -> dict[str, Any]:
        """Return what the hub's database keeps of the server."""
        saved: dict[str, Any] = super().get_state()  # type: ignore[misc]  # of JupyterHub's class
        if self.kind is not None:
            saved[INSTANCE] = self.kind.save()
        if self.notice:
            saved[NOTICE] = self.notice
        return saved

    def load_state(self, state: dict[str, Any]) -> None:
        """Find the server's instance type and the notice again after the hub was started anew."""
        super().load_state(state)  # type: ignore[misc]  # of JupyterHub's class
        self.notice = str(state.get(NOTICE, ""))
        try:
            self.kind = InstanceType.load(state[INSTANCE])
        except (KeyError, ValidationError):  # none runs, or one of a release that kept none
            name = (self.user_options or {}).get(form.FIELD)
            self.kind = self.offer().types.get(str(name))

    def clear_state(self) -> None:
        """Forget a server that has ended; the notice stays for the next spawn page."""
        super().clear_state()  # type: ignore[misc]  # of JupyterHub's class
        self.kind = None

    def limit_variables(self) -> dict[str, str]:
        """Return what tells the server when the hub will stop it, so that it can tell its user."""
        if self.kind is None:
            return {}
        started = self.orm_spawner.started if self.orm_spawner else None
        idle = self.kind.idle_minutes
        idles = (self.idle_timeout if idle is None else idle * 60, self.other_idle_timeout)
        limits = {
            "NABLAHUB_MAX_SECONDS": self.kind.max_seconds,
            "NABLAHUB_IDLE_SECONDS": min(filter(None, idles), default=0),
        }
        found = {name: f"{seconds:g}" for name, seconds in limits.items() if seconds}
        if started is not None:
            # The hub's database keeps times in UTC without saying so.
            found["NABLAHUB_STARTED_AT"] = started.replace(tzinfo=UTC).isoformat()
        return found | {"NABLAHUB_INSTANCE_TYPE": self.kind.name}

    def note_end(self) -> None:
        """Make the notice for the next spawn page; called when the server is stopped."""
        started = self.orm_spawner.started if self.orm_spawner else None
        longest = self.kind.max_seconds if self.kind is not None else None
        if self.kind is None or longest is None or started is None:
            return
        # The hub's database keeps times in UTC without saying so.
        ran = datetime.now(UTC) - started.replace(tzinfo=UTC)
        if ran.total_seconds() >= longest:
            self.notice = (
                f"Your server was stopped after {duration(longest)}, the longest run of "
                f"{self.kind.name}. Your files are kept."
            )


def _of(types: Mapping[str, InstanceType], name: str) -> InstanceType:
    kind = types.get(name)
    if kind is None:
        raise SpawnFailed(
            f"There is no instance type {name!r}.", "Choose one of the page.", reason="instance"
        )
    return kind
