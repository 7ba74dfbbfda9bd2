"""The spawn page's choice: instance types as cards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files

import jinja2

from nablahub.core.instances import InstanceType, Machine

FIELD = "instance_type"


@dataclass(frozen=True)
class Card:
    """One instance type on the page.

    Parameters
    ----------
    instance : InstanceType
        What it is.
    reason : str or None
        Why it can't be chosen; None when it can.
    chosen : bool
        Whether it is preselected.
    """

    instance: InstanceType
    reason: str | None
    chosen: bool


def cards(
    types: Mapping[str, InstanceType], machine: Machine, last: str | None, default: str
) -> list[Card]:
    """Return the cards in the order shown: what can be had first.

    Preselected is the last choice when it still can be had, else the default, else the first.
    """
    reasons = {name: kind.fits(machine) for name, kind in types.items()}
    possible = [name for name, reason in reasons.items() if reason is None]
    wanted = [name for name in (last, default) if name in possible] or possible
    chosen = wanted[0] if wanted else None
    found = [Card(kind, reasons[name], name == chosen) for name, kind in types.items()]
    return sorted(found, key=lambda card: card.reason is not None)  # stable: else as listed


def render(found: list[Card]) -> str:
    """Return the form's HTML."""
    source = (files("nablahub_spawner") / "templates" / "instances.html").read_text()
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(source).render(
        field=FIELD,
        possible=[card for card in found if card.reason is None],
        impossible=[card for card in found if card.reason is not None],
    )
