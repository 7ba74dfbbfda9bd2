"""What became of what a command left, by its pod's second container: pure functions."""

from __future__ import annotations

from typing import Any

from nablahub.jobs.runners.kubernetes.inside.places import UNKEPT
from nablahub.jobs.runners.kubernetes.pod import COMMIT
from nablahub.jobs.runners.kubernetes.verdict import container_of

type Object = dict[str, Any]


def with_delivery(found: Object, pod: Object | None, wish: Object | None, *, there: bool) -> Object:
    """Add to a verdict, in the form of `status.json`, what did not arrive of what it left.

    Parameters
    ----------
    found
        The verdict on the command.
    pod
        The pod whose files are kept, as it was last.
    wish
        Who wished that the task ends, if anybody did.
    there
        Whether the outputs are there that it shall have.
    """
    commit = container_of((pod or {}).get("status", {}), COMMIT)
    ended = commit.get("state", {}).get("terminated", {})
    said = " ".join((ended.get("message") or "").split())
    code = ended.get("exitCode")
    if ended.get("reason") == "OOMKilled":
        said = "What brings it out ran out of memory."
    if code == 0 and there:
        return found | {"left_out": said}
    why = f": {said}" if said else "."
    if found["verdict"] != "code" and code is None:  # Nothing was brought, or nobody knows.
        return found
    if found["verdict"] != "code" or found["exit_code"] != 0:
        return found | {"left_out": f"Not all of what it left arrived{why}"}
    if code == UNKEPT:
        return found | {"verdict": "output", "message": said}
    words = f"Its command succeeded, but not all of what it left arrived{why}"
    if wish is not None:
        return found | {"verdict": "cancelled", "message": f"{wish['message']} {words}"}
    return found | {"verdict": "lost", "exit_code": None, "message": words}
