"""How single things show themselves in a notebook: a short table instead of all their fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nablahub.core.console import state_text
from nablahub.jobs.types import Job
from nablahub.magics.tables import Table
from nablahub.projects.types import Project
from nablahub.workflows.types import Output, Run, Workflow


def show_shortly(shell: Any) -> None:
    """Make a shell show the client's objects as short tables; they stay what they are."""
    formatters = shell.display_formatter.formatters
    for kind, table in _TABLES.items():
        formatters["text/html"].for_type(kind, _html(table))
        formatters["text/plain"].for_type(kind, _plain(table))


def _html(table: Callable[[Any], Table]) -> Callable[[Any], str]:
    return lambda thing: table(thing)._repr_html_()


def _plain(table: Callable[[Any], Table]) -> Callable[[Any, Any, bool], None]:
    return lambda thing, printer, _: printer.text(repr(table(thing)))


def _run(run: Run) -> Table:
    return Table(
        run.jobs,
        {
            "job": lambda j: j.name,
            "state": lambda j: state_text(j.state),
            "outputs": lambda j: (
                ", ".join(f"{name}: {_left(o)}" for name, o in j.outputs.items()) or None
            ),
            "message": lambda j: j.message or None,
        },
        f"Run {run.number} of {run.workflow_name} is {run.state}.",
    )


def _left(output: Output) -> str:
    text = output.ref or output.value or ""
    return text if len(text) <= 60 else f"{text[:59]}…"


def _job(job: Job) -> Table:
    return Table(
        [job],
        {
            "job": lambda j: j.id, "state": lambda j: state_text(j.state),
            "exit code": lambda j: j.exit_code, "message": lambda j: j.message or None,
        },
    )  # fmt: skip


def _workflow(workflow: Workflow) -> Table:
    return Table(
        [workflow],
        {
            "workflow": lambda w: w.name, "id": lambda w: w.id,
            "jobs": lambda w: ", ".join(job.name for job in w.jobs),
        },
    )  # fmt: skip


def _project(project: Project) -> Table:
    columns = {"project": lambda p: p.name, "id": lambda p: p.id}
    return Table([project], columns)


_TABLES: Mapping[type[Any], Callable[[Any], Table]] = {
    Run: _run, Job: _job, Workflow: _workflow, Project: _project,
}  # fmt: skip
