"""What a task's end means for its job: state, reason and a sentence."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from nablahub.core.instances import duration
from nablahub.jobs.runners.contract import TaskStatus
from nablahub.jobs.store import JobRow
from nablahub.jobs.tasks import instance_of
from nablahub.jobs.types import State

UNKEPT = "Its output could not be kept"
_LONGEST = 2000
#: As the C library says it (ENOSPC), and with it nearly every program.
_NO_SPACE = "No space left on device"
_NOT_FOUND = 127  # What shells say of a command that is not there.


@dataclass(frozen=True)
class Ending:
    """How a job ends."""

    state: State
    reason: str | None
    message: str


def ending(job: JobRow, status: TaskStatus) -> Ending:
    """Return the end that a runner's verdict means, outputs apart.

    Failed is the work's own fault, Error is ours or the machine's, Stopped came with the hub's
    shutdown. Nothing but exit code 0 is a success.
    """
    found = _ending(job, status)
    if status.node is not None and found.message:
        found = replace(found, message=f"Node {status.node}: {found.message}")
    return replace(found, message=f"{found.message} {status.left_out}".strip())


def _ending(job: JobRow, status: TaskStatus) -> Ending:
    words = status.last_words[:_LONGEST]
    match status.verdict:
        case "code" if status.exit_code == 0:
            return Ending("Succeeded", None, "")
        case "code" if status.exit_code == _NOT_FOUND and _is_missing(job, words):
            name, where = job.spec["command"][0], job.spec["environment"]
            told = f"The command '{name}' was not found in the environment '{where}'."
            return Ending("Failed", "code", told)
        case "code":
            plain = f"Its command ended with exit code {status.exit_code}."
            told = f"{plain[:-1]}: {words}" if words else plain
            return Ending("Failed", "code", f"{told} {_no_room(status, words)}".rstrip())
        case "timeout" if (limit := _of_its_type(job)) is not None:
            return Ending("Failed", "timeout", _joined(limit, words))
        case "oom" | "timeout" | "disk":
            return Ending("Failed", status.verdict, _joined(status.message, words))
        case "cancelled" if job.wanted == "end":
            return Ending("Canceled", "cancelled", status.message)
        case "cancelled":
            return Ending("Stopped", "shutdown", status.message)
        case "mount":
            return Ending("Error", "mount", status.message)
        case "output":
            return Ending("Failed", "output", f"{UNKEPT}: {status.message}")
        case "start":
            return Ending("Error", "start", status.message)
        case _:
            return Ending("Error", "lost", _joined(status.message, words))


def _no_room(status: TaskStatus, words: str) -> str:
    """What to do when a disk was full, by what the runner or the command says."""
    if _NO_SPACE not in words and not status.message:
        return ""
    where = status.message or "A disk that it wrote to is full."
    return f"{where} Delete what is not needed, or ask an administrator for more room."


def _is_missing(job: JobRow, words: str) -> bool:
    """Whether what starts the command said that it is not there: the sandbox's words, or ours.

    A command's own 127, such as that of a script that calls what is not there, is another matter.
    """
    name = re.escape(job.spec["command"][0])
    said = rf"(bwrap: execvp|nablahub:) {name}: (not found|No such file or directory)"
    return re.fullmatch(said, words) is not None


def _of_its_type(job: JobRow) -> str | None:
    """Return the sentence for a job that was ended at its type's longest run, not at its own."""
    instance, own = instance_of(job), job.spec.get("timeout_seconds")
    if instance.max_seconds is None or (own is not None and own <= instance.max_seconds):
        return None
    longest = duration(instance.max_seconds)
    return f"It was ended after {longest}, the longest run of the instance type {instance.name}."


def _joined(message: str, words: str) -> str:
    return f"{message} Its last words: {words}" if words else message
