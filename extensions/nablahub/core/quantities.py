"""Sizes for people, and quantities as Kubernetes writes them.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
"""

from __future__ import annotations

import re
from decimal import Decimal

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12),
    "P": Decimal(10**15), "E": Decimal(10**18), "Ki": Decimal(2**10), "Mi": Decimal(2**20),
    "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(r"(?P<number>[+-]?[0-9.]+([eE][+-]?[0-9]+)?)(?P<suffix>[A-Za-z]*)")


def quantity(text: str | float) -> Decimal:
    """Return the number of a Kubernetes quantity such as ``500m``, ``2``, ``1e3`` or ``4Gi``.

    Raises
    ------
    ValueError
        When it is none.
    """
    found = _QUANTITY.fullmatch(str(text))
    if found is None or found["suffix"] not in _SUFFIXES:
        raise ValueError(f"{text!r} is no quantity of Kubernetes.")
    return Decimal(found["number"]) * _SUFFIXES[found["suffix"]]


def human(size: int) -> str:
    """Return a size in bytes for people, such as ``1.5 GiB``."""
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
