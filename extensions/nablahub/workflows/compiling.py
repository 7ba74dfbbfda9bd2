"""From a job in a spec to a command in a sandbox. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from nablahub.core.errors import Invalid
from nablahub.workflows.actions import (
    ContainerArguments,
    ModelArguments,
    NotebookArguments,
    ScriptArguments,
)
from nablahub.workflows.references import JobOutput, WorkflowValue, reference
from nablahub.workflows.spec import JobInput, Spec
from nablahub.workflows.types import Output, RunInput
from nablahub.workflows.work import InputMount, JobRequest, ModelRequest, OutputMount

#: Where jobs find their own environment's Python and that of the notebook runner.
PYTHON = "/opt/nablahub/environment/bin/python"
RUNNER = "/opt/nablahub/tools/runner/bin/python"
OURS = ".nablahub"


@dataclass(frozen=True)
class Bound:
    """What a run knows when a job is about to start.

    Parameters
    ----------
    run
        The run's uuid.
    spec
        What it runs.
    files
        Files that the workflow carries.
    inputs
        The workflow's inputs, bound when the run was started.
    inline
        Inputs declared on a job, bound then too: ``<job>.<input>`` → what.
    targets
        Output datasets: ``<job>.<output>`` → the dataset's id.
    outputs
        What the jobs that ended well left: job → output → what.
    workspace
        Digest of the folder that each job begins in, if any; files that come with it lie upon that.
    """

    run: str
    spec: Spec
    files: Mapping[str, str]
    inputs: Mapping[str, RunInput]
    inline: Mapping[str, RunInput]
    targets: Mapping[str, str]
    outputs: Mapping[str, Mapping[str, Output]]
    workspace: str | None = None


class NothingLeft(Invalid):
    """A job did not write the output that another one needs."""

    code = "input_missing"


def volume(run: str, job: str, output: str) -> str:
    """Return the name of a volume: its folder below the state's ``volumes``."""
    return f"{run}/{job}.{output}"


def value_of(bound: Bound, job: str, name: str, item: JobInput) -> InputMount | None:
    """Return what a job's input is bound to; None when it is optional and was not given."""
    if item.source is None:
        given = bound.inline.get(f"{job}.{name}")
        return None if given is None else _mount(name, given)
    target = reference(item.source, bound.spec)
    if isinstance(target, WorkflowValue):
        given = bound.inputs.get(target.name)
        return None if given is None else _mount(name, given)
    return _from_job(bound, name, target)


def _mount(name: str, given: RunInput) -> InputMount:
    ref = given.value if given.kind == "string" else given.ref
    return InputMount(name, given.kind, ref or "", given.read_only)


def _from_job(bound: Bound, name: str, target: JobOutput) -> InputMount:
    kind = bound.spec.jobs[target.job].outputs[target.name].type
    if kind == "volume":
        return InputMount(name, kind, volume(bound.run, target.job, target.name))
    left = bound.outputs[target.job].get(target.name)
    if left is None:
        raise NothingLeft(
            f"'{target.job}' ended well and left nothing at /outputs/{target.name}.",
            hint="Let it write that output.",
        )
    return InputMount(name, kind, (left.value if kind == "string" else left.ref) or "")


def compile_job(bound: Bound, name: str) -> JobRequest:
    """Return the job to submit for a job of the spec that runs as one."""
    spec = bound.spec
    job = spec.jobs[name]
    mounts = (value_of(bound, name, key, item) for key, item in job.inputs.items())
    command, image, tools, files = _command(bound, name)
    return JobRequest(
        name=name,
        command=command,
        image=image,
        instance_type=spec.instance_type(name),
        tools=tools,
        env=spec.env(name),
        inputs=tuple(mount for mount in mounts if mount is not None),
        outputs=tuple(_output(bound, name, key, out.type) for key, out in job.outputs.items()),
        files={**bound.files, **files},
        timeout=job.timeout,
        workspace=bound.workspace,
    )


def _output(bound: Bound, job: str, name: str, kind: str) -> OutputMount:
    if kind == "dataset":
        return OutputMount(name, kind, bound.targets[f"{job}.{name}"])
    return OutputMount(name, kind, volume(bound.run, job, name) if kind == "volume" else "")


def _command(
    bound: Bound, name: str
) -> tuple[tuple[str, ...], str | None, tuple[str, ...], dict[str, str]]:
    """Return command, image, tools and files of a job."""
    job = bound.spec.jobs[name]
    if job.uses == "script@v1":
        script = ScriptArguments.model_validate(job.arguments)
        path = f"{OURS}/script"
        return ("bash", f"/work/{path}"), script.image, (), {path: script.script}
    if job.uses == "container@v1":
        container = ContainerArguments.model_validate(job.arguments)
        return (*container.command, *container.args), container.image, (), {}
    notebook = NotebookArguments.model_validate(job.arguments)
    parameters = {k: _parameter(bound, v) for k, v in notebook.parameters.items()}
    path = f"{OURS}/parameters.json"
    command = [
        RUNNER, "-m", "nablahub.notebook_engine",
        "--input", str(PurePosixPath("/work") / notebook.notebook),
        "--output", f"/artifacts/{record_name(notebook.notebook)}",
        "--events", "/artifacts/cells.jsonl",
        "--python", PYTHON,
        "--parameters-file", f"/work/{path}",
    ]  # fmt: skip
    if notebook.path is not None:
        command += ["--copy", str(PurePosixPath("/work") / notebook.path)]
    return tuple(command), notebook.image, ("runner",), {path: json.dumps(parameters)}


def record_name(notebook: str) -> str:
    """Return the name of the executed notebook among the job's artifacts."""
    return PurePosixPath(notebook).name


def _parameter(bound: Bound, value: Any) -> Any:
    """Return a parameter, taken from the workflow's input when it is named so."""
    if not isinstance(value, str) or not value.startswith("workflow.inputs."):
        return value
    target = reference(value, bound.spec)
    given = bound.inputs.get(target.name)
    if given is None:
        return None
    text = given.value if given.kind == "string" else given.ref
    try:
        read = json.loads(text or "")
    except ValueError:
        return text
    return read if isinstance(read, bool | int | float) else text


def model_request(bound: Bound, name: str) -> ModelRequest:
    """Return what a create-model job asks for."""
    job = bound.spec.jobs[name]
    ((key, item),) = job.inputs.items()
    mount = value_of(bound, name, key, item)
    asked = ModelArguments.model_validate(job.arguments)
    return ModelRequest(asked.name, asked.type, mount.ref if mount else "")
