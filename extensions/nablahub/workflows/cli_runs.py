"""``nablahub workflows run``, ``runs``, ``status``, ``cancel``, ``logs``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from nablahub.core.console import (
    EXIT_FAILED,
    age,
    emit_fields,
    emit_json,
    emit_table,
    hub_command,
    state_text,
    stderr,
)
from nablahub.core.errors import Invalid
from nablahub.core.specmodel import did_you_mean
from nablahub.core.transport import Transport
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.cli import tell_message
from nablahub.jobs.workspaces.cli import send_folder, workspace_option
from nablahub.workflows.api import WorkflowsAPI, each_news
from nablahub.workflows.finding import find, project_id, project_option
from nablahub.workflows.types import ENDED, Run, RunJob, WorkflowDetail


@click.command("run")
@click.argument("workflow")
@project_option(required=False)
@click.option("--input", "given", multiple=True, metavar="NAME=VALUE",
              help="A string's value, or which dataset; may be repeated.")  # fmt: skip
@workspace_option
@click.option("--watch", is_flag=True, help="Stay until it has ended; exit 1 unless it succeeded.")
@hub_command
def run_workflow(
    hub: Transport,
    workflow: str,
    project: str | None,
    given: tuple[str, ...],
    workspace: Path | None,
    *,
    watch: bool,
    as_json: bool,
) -> None:
    """Start a run of a workflow."""
    found = find(hub, workflow, project)
    inputs: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE", param_hint="--input")
        inputs[name] = value
    api = WorkflowsAPI(hub)
    digest = send_folder(hub, found.project_id, workspace) if workspace is not None else None
    run = api.start(found.id, inputs, workspace=digest)
    if watch:
        run = watch_run(api, run)
    _show_run(run, as_json=as_json)
    if watch and run.state != "Succeeded":
        sys.exit(EXIT_FAILED)


def watch_run(api: WorkflowsAPI, run: Run) -> Run:
    """Tell each change of a run's jobs on stderr until it has ended, and return it."""
    console = stderr()

    def tell(job: RunJob) -> None:
        console.print(_line(job), markup=False, soft_wrap=True)

    return api.wait(run, each_news(tell))


def _line(job: RunJob) -> str:
    seconds = ""
    if job.started_at and job.finished_at:
        seconds = f"  {(job.finished_at - job.started_at).total_seconds():.1f} s"
    return f"{state_text(job.state)}  {job.name}{seconds}  {job.message}".rstrip()


def _show_run(run: Run, *, as_json: bool) -> None:
    if as_json:
        emit_json(run)
        return
    emit_fields({
        "workflow": run.workflow_name, "run": run.number, "uuid": run.uuid,
        "state": state_text(run.state), "message": run.message or None,
        "created": run.created_at, "by": run.created_by, "workspace": run.workspace,
    })  # fmt: skip
    for name, left in run.outputs.items():
        click.echo(f"  {name} = {left.ref or left.value}")
    emit_table(
        {
            "job": lambda j: j.name, "action": lambda j: j.action,
            "state": lambda j: state_text(j.state), "id": lambda j: j.job_id,
            "message": lambda j: j.message or None,
        },
        run.jobs,
    )  # fmt: skip


@click.command("runs")
@click.argument("workflow", required=False)
@project_option(required=False)
@hub_command
def list_runs(hub: Transport, workflow: str | None, project: str | None, *, as_json: bool) -> None:
    """List the runs of a workflow, of a project, or all of yours."""
    api = WorkflowsAPI(hub)
    if workflow is not None:
        rows = list(api.runs(find(hub, workflow, project).id))
    else:
        rows = list(api.runs(project=project_id(hub, project)))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "workflow": lambda r: r.workflow_name, "run": lambda r: r.number,
            "state": lambda r: state_text(r.state),
            "took": lambda r: r.finished_at and f"{(r.finished_at - r.created_at).seconds} s",
            "created": lambda r: age(r.created_at), "message": lambda r: r.message or None,
        },
        rows,
    )  # fmt: skip


def _run(hub: Transport, workflow: WorkflowDetail, number: str | None) -> Run:
    if number is None:
        if workflow.latest_run is None:
            raise Invalid(
                f"The workflow {workflow.name!r} has not run yet.",
                hint=f"`nablahub workflows run {workflow.name}` starts one.",
            )
        number = str(workflow.latest_run.number)
    return WorkflowsAPI(hub).run(workflow.id, number)


@click.command("status")
@click.argument("workflow")
@click.argument("number", required=False)
@project_option(required=False)
@click.option("--watch", is_flag=True, help="Stay until it has ended; exit 1 unless it succeeded.")
@hub_command
def show_run(
    hub: Transport,
    workflow: str,
    number: str | None,
    project: str | None,
    *,
    watch: bool,
    as_json: bool,
) -> None:
    """Show a run, by default the latest."""
    run = _run(hub, find(hub, workflow, project), number)
    if watch:
        run = watch_run(WorkflowsAPI(hub), run)
    _show_run(run, as_json=as_json)
    if watch and run.state != "Succeeded":
        sys.exit(EXIT_FAILED)


@click.command("cancel")
@click.argument("workflow")
@click.argument("number", required=False)
@project_option(required=False)
@hub_command
def cancel_run(
    hub: Transport, workflow: str, number: str | None, project: str | None, *, as_json: bool
) -> None:
    """Ask a run to end, by default the latest."""
    run = _run(hub, find(hub, workflow, project), number)
    _show_run(WorkflowsAPI(hub).cancel(run.workflow_id, run.number), as_json=as_json)


@click.command("logs")
@click.argument("workflow")
@click.argument("number", required=False)
@project_option(required=False)
@click.option("--job", "name", help="Default: the one that runs, else that failed, else the last.")
@click.option("--follow", is_flag=True, help="Go on until the job has ended.")
@hub_command
def show_log(
    hub: Transport,
    workflow: str,
    number: str | None,
    project: str | None,
    name: str | None,
    *,
    follow: bool,
    as_json: bool,
) -> None:
    """Print what a job of a run wrote, by default of the latest run."""
    run = _run(hub, find(hub, workflow, project), number)
    job = _job_of(run, name)
    api = JobsAPI(hub)
    assert job.job_id is not None
    if as_json:
        emit_json({"run": run.number, "job": job.name, "text": api.log(job.job_id)})
    elif follow:
        for text in api.follow(job.job_id, told=tell_message):
            click.echo(text, nl=False)
    else:
        click.echo(api.log(job.job_id), nl=False)


def _job_of(run: Run, name: str | None) -> RunJob:
    """Return the job whose log matters most, or the one that is named."""
    known = {job.name: job for job in run.jobs}
    if name is not None and name not in known:
        raise Invalid(f"The run has no job '{name}'.", hint=did_you_mean(name, known))
    with_log = [job for job in run.jobs if job.job_id is not None]
    if name is not None:
        with_log = [job for job in with_log if job.name == name]
    if not with_log:
        raise Invalid(
            f"The job '{name}' has no log." if name else "No job of this run has a log yet.",
            hint="It has not been started, or the service does it by itself.",
        )
    running = [job for job in with_log if job.state not in ENDED]
    failed = [job for job in with_log if job.state in ("Failed", "Error")]
    return (running or failed or with_log[-1:])[0]
