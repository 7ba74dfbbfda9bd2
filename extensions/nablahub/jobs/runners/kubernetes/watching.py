"""From the status of a task's pods to how its servers are: a pure function."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nablahub.jobs.runners.kubernetes.pod import MAIN
from nablahub.jobs.runners.kubernetes.verdict import see

type Object = dict[str, Any]


@dataclass(frozen=True)
class Servers:
    """How the pods of a `serve` task are.

    Parameters
    ----------
    ready
        How many take requests.
    message
        For people: why there are fewer than there could be; empty when nothing is the matter.
    started_at
        When the oldest server that runs began.
    hopeless
        Why none of them will ever begin, if so.
    died
        A pod whose server has ended, as it was then: `verdict` tells what became of it.
    """

    ready: int = 0
    message: str = ""
    started_at: datetime | None = None
    hopeless: str = ""
    died: Object | None = None


def see_servers(pods: Sequence[Object]) -> Servers:
    """How a task's servers are."""
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    seen = [see(pod) for pod in staying]
    begun = [each.started_at for each in seen if each.started_at is not None]
    hopeless = next((each.message for each in seen if each.phase == "hopeless"), "")
    died = next((found for pod in staying if (found := _died(pod)) is not None), None)
    message = hopeless or _last_words(died) or next((s.message for s in seen if s.message), "")
    ready = sum(_is_ready(pod) for pod in staying)
    return Servers(ready, message, min(begun, default=None), hopeless, died)


def no_pods(made: Object | None) -> str:
    """Why what is to make a task's pods makes none, as far as it says so."""
    if made is None:
        return ""
    status = made.get("status", {})
    for condition in status.get("conditions") or ():
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            return f"The cluster makes no pod for it: {condition.get('message', '')}"
    if made.get("kind") == "SeldonDeployment":
        said = status.get("description") or "its operator has not said anything yet."
        return f"Waiting for Seldon Core to make its pods: {said}"
    return ""


def _is_ready(pod: Object) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _died(pod: Object) -> Object | None:
    """Return the pod with its server's last end in the place of its present state."""
    statuses = pod.get("status", {}).get("containerStatuses", ())
    for container in statuses:
        if container["name"] != MAIN:
            continue
        ended = container.get("state", {}).get("terminated") or container.get("lastState", {}).get(
            "terminated"
        )
        if ended is None:
            return None
        now = {**container, "state": {"terminated": ended}}
        return {**pod, "status": {**pod["status"], "containerStatuses": [now]}}
    return None


def _last_words(pod: Object | None) -> str:
    """Tell of a server that ended and is being started again by its node."""
    if pod is None or _is_ready(pod):
        return ""
    ended = pod["status"]["containerStatuses"][0]
    code = ended["state"]["terminated"].get("exitCode")
    try:
        said = json.loads(ended["state"]["terminated"].get("message") or "{}").get("said", "")
    except (ValueError, AttributeError):
        said = ""
    count = ended.get("restartCount", 0)
    if ended["state"]["terminated"].get("reason") == "OOMKilled":
        said = "It needed more memory than its limit."
    return f"A model server ended with the code {code} and was started again {count} times. {said}"
