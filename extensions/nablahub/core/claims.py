"""Volume claims that still wait for their volume, after the settings that made them changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nablahub.core.kubenames import HUB_LABEL
from nablahub.core.quantities import quantity

type Object = Mapping[str, Any]


def outdated(there: Object, wanted: Object) -> bool:
    """Whether a claim that was never bound asks for something else than one of its name now would.

    No command can have seen such a claim: it may be made anew. One that a hub did not make is what
    an administrator wants it to be.

    Parameters
    ----------
    there, wanted : mapping
        The claim as it is in the cluster, and as it would be made.
    """
    meta, spec = there["metadata"], there["spec"]
    pending = (there.get("status") or {}).get("phase") == "Pending"
    going = meta.get("deletionTimestamp") is not None
    if (
        HUB_LABEL not in (meta.get("labels") or {})
        or not pending
        or going
        or spec.get("volumeName")
    ):
        return False
    asked = wanted["spec"]
    # Where none is asked for, the cluster has written its default there.
    other = asked.get("storageClassName") not in (None, spec.get("storageClassName"))
    modes = set(spec["accessModes"]) != set(asked["accessModes"])
    return other or modes or _size(spec) != _size(asked)


def _size(spec: Object) -> object:
    return quantity(spec["resources"]["requests"]["storage"])
