"""The spawn page's choice: instance types as cards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    types: Mapping[str, InstanceType],
    machine: Machine | None,
    last: str | None,
    default: str,
    kept_from: Callable[[InstanceType], str | None] = lambda _kind: None,
) -> list[Card]:
    """Return the cards in the order shown: what can be had first.

    Preselected is the last choice when it still can be had, else the default, else the first.

    Parameters
    ----------
    types : mapping of str to InstanceType
        What is offered.
    machine : Machine or None
        What servers run on; None where a cluster decides what fits.
    last, default : str or None
        The user's last choice; the one that is preselected on a first visit.
    kept_from : callable
        Why the user may not take an instance type, None when they may.
    """
    reasons = {name: kept_from(kind) for name, kind in types.items()}
    if machine is not None:
        reasons = {name: reasons[name] or kind.fits(machine) for name, kind in types.items()}
    possible = [name for name, reason in reasons.items() if reason is None]
    wanted = [name for name in (last, default) if name in possible] or possible
    chosen = wanted[0] if wanted else None
    found = [Card(kind, reasons[name], name == chosen) for name, kind in types.items()]
    return sorted(found, key=lambda card: card.reason is not None)  # stable: else as listed


def render(found: list[Card], *, notice: str = "", warning: str = "") -> str:
    """Return the form's HTML.

    Parameters
    ----------
    found : list of Card
        What is offered.
    notice : str
        What became of the user's last server.
    warning : str
        For an administrator: what is wrong with the file of instance types.
    """
    source = (files("nablahub_spawner") / "templates" / "instances.html").read_text()
    template = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return template.from_string(source).render(
        field=FIELD,
        notice=notice,
        warning=warning,
        possible=[card for card in found if card.reason is None],
        impossible=[card for card in found if card.reason is not None],
    )
