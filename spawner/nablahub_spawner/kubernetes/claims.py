"""What a server is told of its claims, so that it can tell the service what they hold."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Final

from nablahub.core.quantities import quantity
from nablahub_spawner.kubernetes.objects import TEAM, Claim

#: JSON: ``kind``, ``path``, ``bytes`` and, of a team's, its id as ``team``.
VARIABLE: Final = "NABLAHUB_CLAIMS"


def claims_variable(claims: Iterable[Claim]) -> dict[str, str]:
    """Return the variable for the claims of a server, the home's and those of teams."""
    told = []
    for claim in claims:
        found = {"kind": "home", "path": claim.path, "bytes": int(quantity(claim.size))}
        if team := claim.annotations.get(TEAM):
            found |= {"kind": "storage", "team": team}
        told.append(found)
    return {VARIABLE: json.dumps(told)}
