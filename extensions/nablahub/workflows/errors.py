"""What can be wrong with workflows, each with its sentence."""

from __future__ import annotations

from collections.abc import Sequence

from nablahub.core.errors import Conflict, Fault, Invalid, NotFound


class InvalidWorkflow(Invalid):
    """The spec was read, and what it says can't be run anywhere."""

    code = "invalid_workflow"

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = len(faults)
        super().__init__(
            "The workflow's spec has a fault." if count == 1
            else f"The workflow's spec has {count} faults.",
            errors=faults,
        )  # fmt: skip


class CannotRunHere(Invalid):
    """The spec is sound, and this installation lacks what it asks for."""

    code = "cannot_run_here"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("The workflow can't be run here; no run was started.", errors=faults)


class InvalidInputs(Invalid):
    """What a run was given does not fit the workflow's inputs."""

    code = "invalid_inputs"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("The run's inputs do not fit; no run was started.", errors=faults)


class WorkflowNameTaken(Conflict):
    """Names are unique in their project."""

    code = "workflow_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The project has a workflow called {name!r} already.",
            hint="Choose another name, or change that workflow.",
            errors=[Fault("The name is taken.", "/name")],
        )


class WorkflowRuns(Conflict):
    """A workflow can't go while it runs."""

    code = "workflow_runs"

    def __init__(self, name: str, number: int) -> None:
        super().__init__(
            f"The workflow {name!r} still runs (run {number}).",
            hint="Wait for it, or cancel it first.",
        )


class NoSuchWorkflow(NotFound):
    """There is none, or not for the caller."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(
            f"Workflow {workflow_id} was not found.", hint="`nablahub workflows list` shows yours."
        )


class NoSuchRun(NotFound):
    """The workflow has no such run."""

    def __init__(self, number: str) -> None:
        super().__init__(
            f"The workflow has no run {number}.", hint="`nablahub workflows runs` lists them."
        )
