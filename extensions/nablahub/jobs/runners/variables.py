"""The variables that every task has, wherever it runs."""

from __future__ import annotations

from nablahub.core.identity import HOME
from nablahub.jobs.runners.contract import (
    ARTIFACTS,
    CONTROL,
    ENVIRONMENT,
    INPUTS,
    LIBRARY,
    OUTPUTS,
    PROGRAMS,
    STORAGE,
    TaskSpec,
)
from nablahub.jobs.runners.folder import MESSAGE

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin"


def variables(task: TaskSpec, **own: str) -> dict[str, str]:
    """Return the variables of a task's command: ours, the runner's own, above them those given."""
    path = f"{PROGRAMS}:{_SYSTEM_PATH}"
    if task.environment is not None:
        path = f"{ENVIRONMENT}/bin:{path}"
    env = {
        "PATH": path,
        "HOME": HOME,
        "USER": "nabla",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": LIBRARY,
        "NABLAHUB_INPUTS": INPUTS,
        "NABLAHUB_OUTPUTS": OUTPUTS,
        "NABLAHUB_STORAGE": STORAGE,
        "NABLAHUB_ARTIFACTS": ARTIFACTS,
        "NABLAHUB_MESSAGE_FILE": f"{CONTROL}/{MESSAGE}",
    }
    if task.environment is not None:
        env["VIRTUAL_ENV"] = ENVIRONMENT
        env["NABLAHUB_PYTHON"] = f"{ENVIRONMENT}/bin/python"
    return env | own | dict(task.env)
