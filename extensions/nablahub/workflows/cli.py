"""``nablahub workflows``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from nablahub.core.console import (
    EXIT_FAILED,
    emit_fields,
    emit_json,
    emit_table,
    hub_command,
    state_text,
    stderr,
)
from nablahub.core.errors import Invalid
from nablahub.core.transport import Transport
from nablahub.projects.api import ProjectsAPI
from nablahub.workflows.api import WorkflowsAPI
from nablahub.workflows.cli_runs import cancel_run, list_runs, run_workflow, show_log, show_run
from nablahub.workflows.finding import find, project_id, project_option
from nablahub.workflows.types import FaultModel, WorkflowDetail

EXISTING = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def workflows() -> None:
    """Run graphs of jobs and see what became of them."""


for _command in (run_workflow, list_runs, show_run, cancel_run, show_log):
    workflows.add_command(_command)


def _spec_options[F: Callable[..., Any]](function: F) -> F:
    for option in (
        click.option(
            "--file", "carried", multiple=True, type=EXISTING, metavar="FILE",
            help="A file that jobs find in /work, such as a notebook; may be repeated.",
        ),
        click.option("-f", "spec", required=True, type=EXISTING, help="The spec, as YAML or JSON."),
    ):  # fmt: skip
        function = option(function)
    return function


def _texts(carried: tuple[Path, ...]) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in carried:
        try:
            found[path.name] = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise Invalid(
                f"{path} is no text file.",
                hint="Put binary files into a dataset and make it an input.",
            ) from None
    return found


def _show(workflow: WorkflowDetail, *, as_json: bool) -> None:
    if as_json:
        emit_json(workflow)
        return
    latest = workflow.latest_run
    emit_fields({
        "id": workflow.id, "name": workflow.name, "project": workflow.project_id,
        "jobs": ", ".join(f"{job.name} ({job.action})" for job in workflow.jobs),
        "inputs": ", ".join(f"{i.name} ({i.type})" for i in workflow.inputs) or None,
        "files": ", ".join(workflow.files) or None,
        "latest run": f"{latest.number} {state_text(latest.state)}" if latest else None,
        "created": workflow.created_at, "by": workflow.created_by,
    })  # fmt: skip
    _warn(workflow.warnings)


def _warn(faults: list[FaultModel]) -> None:
    for fault in faults:
        place = f"line {fault.line}, column {fault.column}: " if fault.line else ""
        text = f"! {place}{fault.message} {fault.hint}"
        stderr().print(text.rstrip(), style="yellow", markup=False, soft_wrap=True)


@workflows.command("create")
@_spec_options
@project_option(required=True)
@click.option("--name", help="Default: `name` in the spec, else the file's name.")
@hub_command
def create_workflow(
    hub: Transport,
    spec: Path,
    carried: tuple[Path, ...],
    project: str,
    name: str | None,
    *,
    as_json: bool,
) -> None:
    """Create a workflow from a spec."""
    made = WorkflowsAPI(hub).create(
        ProjectsAPI(hub).get(project).id, _read(spec), name=name or _named(spec),
        files=_texts(carried),
    )  # fmt: skip
    _show(made, as_json=as_json)


@workflows.command("apply")
@_spec_options
@project_option(required=True)
@click.option("--name", help="Default: `name` in the spec, else the file's name.")
@hub_command
def apply_workflow(
    hub: Transport,
    spec: Path,
    carried: tuple[Path, ...],
    project: str,
    name: str | None,
    *,
    as_json: bool,
) -> None:
    """Create a workflow, or change the one of that name; twice is as good as once."""
    made = WorkflowsAPI(hub).apply(
        ProjectsAPI(hub).get(project).id, _read(spec), name=name or _named(spec),
        files=_texts(carried),
    )  # fmt: skip
    _show(made, as_json=as_json)


def _read(spec: Path) -> str:
    try:
        return spec.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Invalid(f"{spec} is no text file.", hint="A spec is YAML in UTF-8.") from None


def _named(spec: Path) -> str | None:
    """Return the file's name for a spec that does not name itself."""
    named = any(line.startswith("name:") for line in _read(spec).splitlines())
    return None if named else spec.stem


@workflows.command("validate")
@_spec_options
@hub_command
def validate_workflow(
    hub: Transport, spec: Path, carried: tuple[Path, ...], *, as_json: bool
) -> None:
    """Tell everything that is wrong with a spec; nothing is stored."""
    found = WorkflowsAPI(hub).validate(_read(spec), files=_texts(carried))
    if as_json:
        emit_json(found)
    elif found.valid:
        click.echo(f"{spec}: nothing is wrong with it.")
    for fault in [] if as_json else found.errors:
        place = f":{fault.line}:{fault.column}" if fault.line else f" {fault.pointer}"
        click.echo(f"{spec}{place}: {fault.message} {fault.hint}".rstrip())
    if not found.valid:
        sys.exit(EXIT_FAILED)


@workflows.command("list")
@project_option(required=False)
@hub_command
def list_workflows(hub: Transport, project: str | None, *, as_json: bool) -> None:
    """List your workflows."""
    rows = list(WorkflowsAPI(hub).list(project_id(hub, project)))
    if as_json:
        emit_json(rows)
        return
    emit_table(
        {
            "name": lambda w: w.name, "id": lambda w: w.id, "jobs": lambda w: len(w.jobs),
            "latest run": lambda w: w.latest_run and (
                f"{w.latest_run.number} {state_text(w.latest_run.state)}"
            ),
            "created": lambda w: w.created_at,
        },
        rows,
    )  # fmt: skip


@workflows.command("show")
@click.argument("workflow")
@project_option(required=False)
@hub_command
def show_workflow(hub: Transport, workflow: str, project: str | None, *, as_json: bool) -> None:
    """Show a workflow, by id or name."""
    _show(find(hub, workflow, project), as_json=as_json)


@workflows.command("delete")
@click.argument("workflow")
@project_option(required=False)
@hub_command
def delete_workflow(hub: Transport, workflow: str, project: str | None, *, as_json: bool) -> None:
    """Delete a workflow and the record of its runs."""
    found = find(hub, workflow, project)
    WorkflowsAPI(hub).delete(found.id)
    if as_json:
        emit_json({"deleted": found.id})
    else:
        click.echo(f"Deleted {found.name} ({found.id}).")
