"""The choice of an instance type: what every spawner of ours offers, refuses and remembers."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jupyterhub.spawner import SpawnException
from pydantic import ValidationError
from traitlets import Unicode
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

    def machine(self) -> Machine | None:
        """Return what servers run on; None where a cluster decides what fits."""
        return Machine.detect()

    def offer(self) -> Offer:
        """Return the instance types there are now."""
        if not self.instance_types_file:
            return Offer()
        return live(Path(self.instance_types_file), self.kept_instance_types).now()

    def kept_from(self, kind: InstanceType) -> str | None:
        """Return why the server's user may not take an instance type; None when they may."""
        return kind.kept_from(self.user.name, {group.name for group in self.user.groups})

    def cards_form(self) -> str:
        """Return the spawn page's form."""
        last = (self.orm_spawner.user_options or {}).get(form.FIELD) if self.orm_spawner else None
        offer = self.offer()
        found = form.cards(
            offer.types, self.machine(), last, self.default_instance_type, self.kept_from
        )
        told = offer.problem.story if offer.problem is not None and self.user.admin else ""
        return form.render(found, notice=self.notice, warning=told)

    def read_form(self, data: dict[str, list[str]]) -> dict[str, Any]:
        """Return the options of a form that was sent; SpawnException when it can't be had."""
        name = (data.get(form.FIELD) or [self.default_instance_type])[0]
        return {form.FIELD: self.instance(name).name}

    def apply_instance(self, options: dict[str, Any]) -> InstanceType:
        """Return the instance type of the user's options and set the limits that follow."""
        kind = self.instance(str(options.get(form.FIELD) or self._fallback()))
        self.kind, self.notice = kind, ""
        self.limit_to(kind)
        return kind

    def limit_to(self, kind: InstanceType) -> None:
        """Set what the server may use."""
        self.mem_limit = int(kind.memory_gib * GIB)
        self.cpu_limit = float(kind.cpus)

    def instance(self, name: str) -> InstanceType:
        """Return the instance type of that name, or refuse it.

        Raises
        ------
        SpawnException
            When there is none of that name, it is kept for others, or this machine cannot give it.
        """
        types, machine = self.offer().types, self.machine()
        kind = types.get(name)
        if kind is None:
            raise SpawnException(
                f"There is no instance type {name!r}. Choose one of the page.", reason="instance"
            )
        why = self.kept_from(kind)
        said = f"You cannot take {name}: {why}"
        if why is None and machine is not None:
            why = kind.fits(machine)
            said = f"This machine cannot give {name}: {why}"
        if why is not None:
            mine = [other for other in types.values() if self.kept_from(other) is None]
            other = suggestion(machine, mine)
            way_out = f" Choose {other.name}, which fits." if other else ""
            raise SpawnException(f"{said}{way_out}", reason="instance")
        return kind

    def _fallback(self) -> str:
        """Return what is started when nobody chose: the default, else the first that can be had."""
        types, machine = self.offer().types, self.machine()
        for name in (self.default_instance_type, *types):
            kind = types.get(name)
            fits = kind is not None and (machine is None or kind.fits(machine) is None)
            if kind is not None and fits and self.kept_from(kind) is None:
                return name
        return self.default_instance_type

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
