"""What can be wrong with jobs."""

from __future__ import annotations

from collections.abc import Sequence

from nablahub.core.errors import (
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    NablaError,
    NotFound,
    Unavailable,
)


class NoSuchJob(NotFound):
    """It does not exist, or not for the one who asks."""

    code = "no_such_job"

    def __init__(self, job_id: str) -> None:
        super().__init__(f"Job {job_id} was not found.", hint="`nablahub jobs list` shows yours.")


class NoSuchArtifact(NotFound):
    """The job left no such file."""

    code = "no_such_artifact"


class UnknownInstanceType(Invalid):
    """No instance type of that name."""

    code = "unknown_instance_type"


class InstanceTooBig(Invalid):
    """The machine does not have what the instance type promises."""

    code = "instance_too_big"


class InstanceNotAllowed(Forbidden):
    """The instance type is kept for others, or not for work of that kind."""

    code = "instance_not_allowed"


class OneMachine(Invalid):
    """A job of several nodes where jobs run on one machine."""

    code = "one_machine"

    def __init__(self, nodes: int) -> None:
        super().__init__(
            f"Jobs run on this one machine, so {nodes} nodes cannot be had.",
            errors=[
                Fault(
                    "Only a cluster has several nodes.",
                    "/nodes",
                    hint="Leave it out, or ask an administrator for jobs on Kubernetes.",
                )
            ],
        )


class InvalidJob(Invalid):
    """Several things are wrong with a job."""

    code = "invalid_job"

    @classmethod
    def of(cls, errors: Sequence[NablaError]) -> NablaError:
        """Return the error itself when there is one, else one that tells of all of them."""
        if len(errors) == 1:
            return errors[0]
        faults = [f for e in errors for f in (e.errors or [Fault(e.detail, hint=e.hint)])]
        return cls(f"The job cannot be run: {len(faults)} things are wrong.", errors=faults)


class SandboxUnavailable(Unavailable):
    """bubblewrap cannot run here, and nobody said to go without."""

    code = "sandbox_unavailable"


class JobRuns(Conflict):
    """A job that has not ended cannot be deleted."""

    code = "job_runs"

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"Job {job_id} has not ended.", hint=f"Cancel it first: nablahub jobs cancel {job_id}."
        )


class JobOwned(Conflict):
    """A job that is part of something is deleted with that, not alone."""

    code = "job_owned"

    def __init__(self, job_id: str, kind: str) -> None:
        super().__init__(
            f"Job {job_id} is part of a {kind}, whose record would lose it.",
            hint="Delete the workflow or the deployment that it belongs to.",
        )


class TransitionRefused(Conflict):
    """A rule of the state machine forbids the change."""

    code = "transition_refused"
