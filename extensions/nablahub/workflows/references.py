"""What the words ``workflow.inputs.<name>`` and ``<job>.outputs.<name>`` point at."""

from __future__ import annotations

from dataclasses import dataclass

from nablahub.core.specmodel import did_you_mean
from nablahub.workflows.spec import Spec

WORKFLOW = "workflow.inputs."
OUTPUTS = ".outputs."


@dataclass(frozen=True)
class WorkflowValue:
    """An input of the workflow."""

    name: str


@dataclass(frozen=True)
class JobOutput:
    """An output of a job."""

    job: str
    name: str


class UnknownReference(ValueError):
    """It points at nothing; `hint` says what it may have meant."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def reference(text: str, spec: Spec) -> WorkflowValue | JobOutput:
    """Return what `text` points at.

    Raises
    ------
    UnknownReference
        With what was probably meant.
    """
    if text.startswith(WORKFLOW):
        name = text.removeprefix(WORKFLOW)
        if name not in spec.inputs:
            hint = did_you_mean(name, spec.inputs) or "Declare it under the workflow's `inputs`."
            raise UnknownReference(f"The workflow has no input '{name}'.", hint)
        return WorkflowValue(name)
    job, found, name = text.rpartition(OUTPUTS)
    if not found:
        raise UnknownReference(
            f"'{text}' is no reference.",
            "Write `<job>.outputs.<name>` or `workflow.inputs.<name>`.",
        )
    if job not in spec.jobs:
        raise UnknownReference(f"No job is called '{job}'.", did_you_mean(job, spec.jobs))
    outputs = spec.jobs[job].outputs
    if name not in outputs:
        hint = did_you_mean(name, outputs) or f"Declare it under the outputs of '{job}'."
        raise UnknownReference(f"The job '{job}' has no output '{name}'.", hint)
    return JobOutput(job, name)
