"""What a cluster says when it does not make a pod, for people: pure functions."""

from __future__ import annotations

import re
from dataclasses import dataclass

from nablahub.core.quantities import quantity

_QUOTA = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: (?P<requested>.+), "
    r"used: (?P<used>.+), limited: (?P<limited>[^\s]+)"
)
_LIMITS = re.compile(r"(maximum|minimum) .* usage per")
_LONGEST = 400


@dataclass(frozen=True)
class Refusal:
    """Why something is not made.

    Parameters
    ----------
    words : str
        Why, and what to do.
    never : bool
        Whether waiting does not mend it.
    """

    words: str
    never: bool = False


def refusal(said: str) -> Refusal:
    """Return what the cluster's words for not making an object mean."""
    quota = _QUOTA.search(said)
    if quota is not None:
        return _of_quota(quota["name"], *(_amounts(quota[part]) for part in _PARTS))
    short = " ".join(said.split())[:_LONGEST].rstrip(".")
    if _LIMITS.search(said):
        words = (
            f"The limits of the namespace do not allow it: {short}. Choose another instance type."
        )
        return Refusal(words, never=True)
    if "must specify" in said:
        words = (
            f"A quota of the namespace wants to know more of its pod: {short}. "
            "Tell an administrator: a LimitRange gives what is missing a default."
        )
        return Refusal(words, never=True)
    if "violates PodSecurity" in said:
        words = (
            f"The namespace does not admit its pod: {short}. "
            "Tell an administrator: the namespace's Pod Security level is too strict."
        )
        return Refusal(words, never=True)
    return Refusal(f"The cluster does not make its pod yet: {short}. Tell an administrator.")


def unprovided(claim: str, said: str) -> str:
    """Return what the cluster's words for giving a claim no volume mean."""
    short = " ".join(said.split())[:_LONGEST].rstrip(".")
    return (
        f"Its storage cannot be made (the claim {claim}): {short}. Tell an administrator: check "
        "the storage class and access mode of jobs."
    )


_PARTS = ("requested", "used", "limited")


def _of_quota(
    name: str, requested: dict[str, str], used: dict[str, str], limited: dict[str, str]
) -> Refusal:
    tight = [
        what
        for what, amount in requested.items()
        if what in limited and quantity(amount) > quantity(limited[what])
    ]
    if tight:
        asked = ", ".join(f"{what} {requested[what]} of {limited[what]}" for what in tight)
        return Refusal(
            f"It can never fit into the quota {name!r}: it asks for {asked}. "
            "Choose a smaller instance type, or ask an administrator for a larger quota.",
            never=True,
        )
    asked = ", ".join(
        f"{what} {used.get(what, '0')} of {limited.get(what, '?')} taken, {amount} more needed"
        for what, amount in requested.items()
    )
    return Refusal(
        f"The quota {name!r} is used up: {asked}. It begins when others have ended; "
        "cancel what is not needed, or ask an administrator for a larger quota."
    )


def _amounts(text: str) -> dict[str, str]:
    """Split `pods=1,requests.cpu=500m`."""
    pairs = (part.partition("=") for part in text.strip().split(","))
    return {name: amount for name, equals, amount in pairs if equals}
