"""What can be wrong with deployments."""

from __future__ import annotations

from collections.abc import Sequence

from nablahub.core.errors import Conflict, Fault, Invalid, Unavailable


class DeploymentNameTaken(Conflict):
    """Names are unique in their project."""

    code = "deployment_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The project has a deployment called {name!r} already.",
            errors=[Fault("The name is taken.", "/spec/name", hint="Change that one, or rename.")],
        )


class BadSpec(Invalid):
    """The spec can't be deployed; every fault has its place."""

    code = "bad_deployment_spec"

    def __init__(self, faults: Sequence[Fault]) -> None:
        count = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        super().__init__(f"The deployment's spec has {count}: {faults[0]}", errors=faults)


class NoSuchSpecVersion(Invalid):
    """There is no version of that number to go back to."""

    code = "no_such_spec_version"


class DeploymentStopped(Unavailable):
    """There is a deployment, and somebody stopped it."""

    code = "deployment_stopped"
    title = "The deployment is stopped"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"The deployment at {path} is stopped: it has no model server, so nobody can answer.",
            hint="Give it `enabled: true` and one of `replicas` or more, and `nablahub deployments "
            "apply` that.",
        )


class DeploymentNotReady(Unavailable):
    """There is a deployment, and none of its servers takes requests just now."""

    code = "deployment_not_ready"
    title = "The deployment is not ready"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"No model server of the deployment at {path} takes requests now: it is starting, "
            "or what it is to serve can't be loaded.",
            hint="Try again in a moment; `nablahub deployments show NAME` tells its members why.",
        )
