"""``nablahub jobs``."""

from __future__ import annotations

import sys
from typing import Any

import click

from nablahub.core.console import (
    EXIT_FAILED,
    EXIT_USAGE,
    emit_fields,
    emit_json,
    emit_table,
    hub_command,
    state_text,
    stderr,
)
from nablahub.core.errors import Invalid
from nablahub.core.transport import Transport
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.types import Input, Job, JobSpec, Output
from nablahub.jobs.workspaces.cli import send_folder, workspace_option
from nablahub.projects.api import ProjectsAPI


@click.group()
def jobs() -> None:
    """Run commands and look at them."""


def _part(text: str, option: str) -> tuple[str, str, str]:
    """Split ``NAME=KIND:REF``."""
    name, equals, rest = text.partition("=")
    kind, colon, ref = rest.partition(":")
    if not name or not equals or not kind:
        raise click.BadParameter(f"{text!r} is not NAME=KIND:REF", param_hint=option)
    return name, kind, ref if colon else ""


def _inputs(given: tuple[str, ...]) -> list[Input]:
    found = []
    for text in given:
        name, kind, ref = _part(text, "--input")
        found.append(Input.model_validate({"name": name, "kind": kind, "ref": ref}))
    return found


def _mounts(given: tuple[str, ...]) -> list[Input]:
    """Read ``NAME=STORAGE/FOLDER:rw``, in which NAME may be a path."""
    found = []
    for text in given:
        target, equals, source = text.partition("=")
        path = target.strip("/").split("/")
        at, name = path if len(path) == 2 else ("inputs", target)
        ref, _, mode = source.rpartition(":")
        if mode not in ("ro", "rw") or not ref:
            ref, mode = source, "ro"
        if not equals or not ref or at not in ("inputs", "datasets"):
            raise click.BadParameter(
                f"{text!r} is not NAME=STORAGE/FOLDER or /datasets/NAME=STORAGE/FOLDER, "
                "with :rw at its end to write into it",
                param_hint="--mount",
            )
        fields = {"name": name, "kind": "bucket", "ref": ref, "at": at, "read_only": mode == "ro"}
        found.append(Input.model_validate(fields))
    return found


def _outputs(given: tuple[str, ...]) -> list[Output]:
    found = []
    for text in given:
        name, kind, ref = _part(text, "--output")
        found.append(Output.model_validate({"name": name, "kind": kind, "ref": ref}))
    return found


def _variables(given: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--env")
        found[name] = value
    return found


def _show(job: Job) -> None:
    emit_fields({
        "id": job.id, "name": job.name, "state": state_text(job.state), "reason": job.reason,
        "message": job.message or None, "exit code": job.exit_code,
        "command": " ".join(job.command), "environment": job.environment,
        "instance type": job.instance_type, "nodes": job.nodes if job.nodes > 1 else None,
        "project": job.project_id, "workspace": job.workspace,
        "outputs": ", ".join(f"{k}={v.ref or v.value}" for k, v in job.outputs.items()) or None,
        "created": job.created_at, "by": job.created_by,
    })  # fmt: skip


def _leave(job: Job, *, as_json: bool) -> None:
    """Print how a job ended and leave with its command's own exit code."""
    if as_json:
        emit_json(job)
    elif job.state != "Succeeded":
        stderr().print(f"{state_text(job.state)}: {job.message}", markup=False, soft_wrap=True)
    if job.exit_code:
        sys.exit(job.exit_code)
    if job.state != "Succeeded":
        sys.exit(EXIT_FAILED)


@jobs.command("run", context_settings={"allow_interspersed_args": False})
@click.option("--project", required=True, help="Id or name.")
@click.option("--name", default="job", show_default=True)
@click.option("--environment", default="default", show_default=True, help="Its name.")
@click.option("--instance-type", default="C4", show_default=True)
@click.option("--nodes", type=int, default=1, show_default=True, help="Machines, on a cluster.")
@click.option("--input", "inputs", multiple=True, metavar="NAME=KIND:REF", help="Seen in /inputs.")
@click.option("--output", "outputs", multiple=True, metavar="NAME=KIND:REF", help="From /outputs.")
@workspace_option
@click.option(
    "--mount",
    "mounts",
    multiple=True,
    metavar="NAME=STORAGE[/FOLDER][:rw]",
    help="A bucket's folder, in /inputs/NAME; or say /datasets/NAME.",
)
@click.option("--env", "variables", multiple=True, metavar="NAME=VALUE")
@click.option("--timeout", type=float, help="Seconds until it is ended.")
@click.option("--detach", is_flag=True, help="Do not wait for its end.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@hub_command
def run_job(hub: Transport, *, as_json: bool, **given: Any) -> None:
    """Run COMMAND as a job, print what it writes, and pass its exit code on.

    Ctrl-C leaves the job running; `nablahub jobs cancel` ends it.
    """
    project = ProjectsAPI(hub).get(given["project"]).id
    workspace = send_folder(hub, project, given["workspace"]) if given["workspace"] else None
    try:
        spec = JobSpec(
            project_id=project,
            workspace=workspace,
            name=given["name"],
            command=list(given["command"]),
            environment=given["environment"],
            instance_type=given["instance_type"],
            nodes=given["nodes"],
            inputs=[*_inputs(given["inputs"]), *_mounts(given["mounts"])],
            outputs=_outputs(given["outputs"]),
            env=_variables(given["variables"]),
            timeout_seconds=given["timeout"],
        )
    except ValueError as error:
        stderr().print(f"✗ {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(EXIT_USAGE)
    api = JobsAPI(hub)
    job = api.submit(spec)
    if given["detach"]:
        if as_json:
            emit_json(job)
        else:
            click.echo(job.id)
        return
    stderr().print(f"{job.id}", style="dim", markup=False)
    _copy_log(api, job.id, as_json=as_json)
    _leave(api.get(job.id), as_json=as_json)


def _copy_log(api: JobsAPI, job_id: str, *, as_json: bool) -> None:
    """Copy a log to stdout as it grows; to stderr when stdout is for the JSON at the end."""
    for text in api.follow(job_id, told=tell_message):
        click.echo(text, nl=False, err=as_json)


def tell_message(message: str) -> None:
    """Tell on stderr why a job that is followed does not go on."""
    stderr().print(message, style="dim", markup=False, soft_wrap=True)


@jobs.command("list")
@click.option("--project", help="Only of this project (id or name).")
@click.option("--state", help="Only in this state, such as Running.")
@hub_command
def list_jobs(hub: Transport, project: str | None, state: str | None, *, as_json: bool) -> None:
    """List your jobs, newest first."""
    wanted = ProjectsAPI(hub).get(project).id if project else None
    rows = list(JobsAPI(hub).list(project=wanted, state=state))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "id": lambda j: j.id, "name": lambda j: j.name,
            "state": lambda j: state_text(j.state), "reason": lambda j: j.reason,
            "created": lambda j: j.created_at,
        },
        rows,
    )  # fmt: skip


@jobs.command("show")
@click.argument("job")
@hub_command
def show_job(hub: Transport, job: str, *, as_json: bool) -> None:
    """Show a job."""
    found = JobsAPI(hub).get(job)
    if as_json:
        emit_json(found)
    else:
        _show(found)


@jobs.command("logs")
@click.argument("job")
@click.option("--follow", is_flag=True, help="Go on until the job has ended.")
@click.option("--offset", type=click.IntRange(0), default=0, help="Bytes to leave out.")
@hub_command
def show_log(hub: Transport, job: str, offset: int, *, follow: bool, as_json: bool) -> None:
    """Print what a job wrote."""
    api = JobsAPI(hub)
    if as_json:
        if follow:
            raise Invalid("--json and --follow exclude each other.", hint="Leave one out.")
        emit_json({"job": job, "offset": offset, "text": api.log(job, offset=offset)})
    elif follow:
        for text in api.follow(job, offset=offset, told=tell_message):
            click.echo(text, nl=False)
    else:
        click.echo(api.log(job, offset=offset), nl=False)


@jobs.command("cancel")
@click.argument("job")
@hub_command
def cancel_job(hub: Transport, job: str, *, as_json: bool) -> None:
    """End a job."""
    found = JobsAPI(hub).cancel(job)
    if as_json:
        emit_json(found)
    elif found.finished_at is not None:
        click.echo(f"{found.id} had ended: {state_text(found.state)}.")
    else:
        click.echo(f"{found.id} is being ended.")


@jobs.command("delete")
@click.argument("job")
@hub_command
def delete_job(hub: Transport, job: str, *, as_json: bool) -> None:
    """Delete a job that has ended, with its log and artifacts."""
    JobsAPI(hub).delete(job)
    if as_json:
        emit_json({"deleted": job})
    else:
        click.echo(f"Deleted {job}.")
