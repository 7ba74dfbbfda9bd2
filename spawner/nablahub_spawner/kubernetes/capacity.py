"""What a quota still leaves: pure, from the API's objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from nablahub.core.instances import GIB
from nablahub.core.nodes import number_text
from nablahub.core.quantities import quantity

Json = Mapping[str, Any]

#: A quota's names for what containers ask for; the bare ones mean requests.
_PREFIXES = ("requests.", "limits.")


def over_quota(quotas: Iterable[Json], resources: Json) -> str | None:
    """Return what of a namespace's quotas a new pod would exceed, as a sentence; None if nothing.

    Parameters
    ----------
    quotas : iterable of mapping
        The namespace's ``ResourceQuota`` objects.
    resources : mapping
        ``requests`` and ``limits`` of the pod's container.
    """
    for found in quotas:
        status = found.get("status") or {}
        hard, used = status.get("hard") or {}, status.get("used") or {}
        if (found.get("spec") or {}).get("scopes") or (found.get("spec") or {}).get(
            "scopeSelector"
        ):
            continue  # may not count our pods; the API's answer to the pod itself decides
        for name, limit in hard.items():
            needed = _needed(name, resources)
            if needed is None:
                continue
            taken = quantity(used.get(name, "0"))
            if taken + needed > quantity(limit):
                return (
                    f"The quota {found['metadata']['name']!r} of this hub's servers is used up: "
                    f"{_what(name)} {_shown(name, taken)} of {_shown(name, quantity(limit))} "
                    f"taken, {_shown(name, needed)} more needed."
                )
    return None


def _needed(name: str, resources: Json) -> Decimal | None:
    if name in ("pods", "count/pods"):
        return Decimal(1)
    which, bare = "requests", name
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            which, bare = prefix[:-1], name.removeprefix(prefix)
    amount = resources.get(which, {}).get(bare)
    return None if amount is None else quantity(amount)


def _what(name: str) -> str:
    bare = name.removeprefix("requests.").removeprefix("limits.").removeprefix("count/")
    return {"cpu": "CPUs", "memory": "memory"}.get(bare, bare)


def _shown(name: str, amount: Decimal) -> str:
    return f"{amount / GIB:.1f} GiB" if name.endswith("memory") else number_text(amount)
