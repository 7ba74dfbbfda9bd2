"""What keeps a sound workflow from running on *this* installation."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from nablahub.core.errors import Fault
from nablahub.core.specmodel import did_you_mean
from nablahub.core.yamlspec import Document, Path
from nablahub.workflows.actions import ACTIONS, NOT_YET, Action
from nablahub.workflows.spec import Job, Spec


@dataclass(frozen=True)
class Machine:
    """What this installation offers, asked through callables so that the check knows no slice.

    Parameters
    ----------
    environment
        Name of the environment that answers to an image's name, or None.
    environments
        Words that a user may write as ``image``.
    instance
        Reason why an instance type can't be had here, None when it can; KeyError when unknown.
    instances
        Names of all instance types.
    has_kernel
        Whether an environment (by its name) can run notebooks.
    """

    environment: Callable[[str], str | None]
    environments: Callable[[], Collection[str]]
    instance: Callable[[str], str | None]
    instances: Callable[[], Collection[str]]
    has_kernel: Callable[[str], bool] = lambda name: True


def check_here(source: Document, spec: Spec, machine: Machine) -> list[Fault]:
    """Return what keeps a workflow from running on this installation."""
    faults: list[Fault] = []
    for name, job in spec.jobs.items():
        path: Path = ("jobs", name)
        action = ACTIONS.get(job.uses or "")
        if action is not None and action.runs:
            faults += _environment(source, path, job, action, machine)
        elif job.uses is not None and job.uses in NOT_YET:
            message = f"{job.uses} can't be run by this version."
            faults.append(source.fault((*path, "uses"), message, hint=NOT_YET[job.uses]))
        faults += _instance(source, path, job, machine)
        faults += _secrets(source, (*path, "env"), job.env)
    if spec.defaults.resources.instance_type is not None and any(
        job.resources.instance_type is None for job in spec.jobs.values()
    ):
        at: Path = ("defaults", "resources", "instance-type")
        faults += _one_instance(source, at, spec.defaults.resources.instance_type, machine)
    return faults + _secrets(source, ("defaults", "env"), spec.defaults.env)


def _environment(
    source: Document, path: Path, job: Job, action: Action, machine: Machine
) -> list[Fault]:
    image = job.arguments.get("image")
    if not isinstance(image, str):
        return []
    at: Path = (*path, "with", "image")
    environment = machine.environment(image)
    if environment is None:
        known = machine.environments()
        return [
            source.fault(
                at,
                f"No environment here answers to the image '{image}'.",
                hint=did_you_mean(image, known) or f"There are: {', '.join(known)}.",
            )
        ]
    if action.needs_kernel and not machine.has_kernel(environment):
        return [
            source.fault(
                at,
                f"The environment '{environment}' can't run notebooks: it has no ipykernel.",
                hint="Add ipykernel to it, or use another.",
            )
        ]
    return []


def _instance(source: Document, path: Path, job: Job, machine: Machine) -> list[Fault]:
    name = job.resources.instance_type
    at: Path = (*path, "resources", "instance-type")
    return [] if name is None else _one_instance(source, at, name, machine)


def _one_instance(source: Document, at: Path, name: str, machine: Machine) -> list[Fault]:
    try:
        reason = machine.instance(name)
    except KeyError:
        hint = did_you_mean(name, machine.instances())
        return [source.fault(at, f"There is no instance type '{name}'.", hint=hint)]
    if reason is None:
        return []
    fitting = [other for other in sorted(machine.instances()) if machine.instance(other) is None]
    hint = f"Here fit: {', '.join(fitting)}." if fitting else ""
    reason = reason[:1].upper() + reason[1:].rstrip(".")
    return [source.fault(at, f"The instance type '{name}' can't be had here. {reason}.", hint=hint)]


def _secrets(source: Document, path: Path, env: Mapping[str, str]) -> list[Fault]:
    return [
        source.fault(
            (*path, name),
            f"'{value}' names a secret, and this version keeps none.",
            hint="Take the line out; a job has its own PAPERSPACE_API_KEY.",
        )
        for name, value in env.items()
        if value.casefold().startswith("secret:")
    ]
