"""The magics themselves: words to calls of the client."""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_cell_magic, magics_class

from nablahub.client import Hub, connect
from nablahub.core.console import size_text, state_text
from nablahub.core.errors import NablaError
from nablahub.jobs.types import JobSpec
from nablahub.magics.short import show_shortly
from nablahub.magics.tables import Table
from nablahub.mounts.types import S3
from nablahub.workflows.api import each_news

DATASETS = Path("/datasets")
HELP = """\
%nabla projects                      your projects
%nabla project [NAME]                show or choose the project that the others are about
%nabla datasets | models | workflows | runs | deployments
%nabla mount DATASET[:VERSION] [AS]  show a version in /datasets, read-only
%nabla mount s3:PROVIDER/FOLDER [AS] [--rw]  show a folder of a bucket there
%nabla mounts                        what is shown there
%nabla sync NAME                     write what was changed in a bucket's folder to it now
%nabla unmount NAME                  show it no more, once what was changed is in the bucket
%nabla run WORKFLOW [NAME=VALUE …]   start a run, tell its progress, return it
%nabla start WORKFLOW [NAME=VALUE …] start a run and return at once
%%nabla workflow [NAME]              create or change a workflow: its YAML is the cell
%%nabla job [ENVIRONMENT]            run the cell as a bash script in a job, print its log"""


@magics_class
class NablaMagics(Magics):  # type: ignore[misc]  # IPython's base is untyped here
    """``%nabla`` and ``%%nabla``."""

    def __init__(
        self, shell: Any = None, connecting: Callable[[], Hub] = connect, **kwargs: Any
    ) -> None:
        super().__init__(shell, **kwargs)
        if shell is not None:
            show_shortly(shell)
        self._connecting = connecting
        self._hub: Hub | None = None
        # A job or a server knows its project; a name is looked up at its first use.
        self._project = os.environ.get("NABLAHUB_PROJECT") or os.environ.get("PROJECT_ID")
        self._project_id: str | None = None

    @line_cell_magic  # type: ignore[untyped-decorator]  # IPython is untyped here
    def nabla(self, line: str, cell: str | None = None) -> Any:
        """Look at and use the hub from a notebook; `%nabla` alone lists the words."""
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise UsageError(f"The line can't be read: {error}.") from None
        verb, rest = (words[0], words[1:]) if words else ("help", [])
        if verb in ("help", "--help", "-h"):
            return self.help(rest)
        table = _CELL_WORDS if cell is not None else _LINE_WORDS
        if verb not in table:
            near = difflib.get_close_matches(verb, table, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            mark = "%nabla" if cell is None else "%%nabla"
            raise UsageError(f"{mark} knows no '{verb}'.{hint} `%nabla help` lists the words.")
        try:
            return table[verb](self, rest) if cell is None else table[verb](self, rest, cell)
        except NablaError as error:
            faults = "".join(f"\n  {fault}" for fault in error.errors)
            raise UsageError(f"{error.detail}{faults}\n{error.hint}".rstrip()) from None

    @property
    def hub(self) -> Hub:
        """The client, connected at its first use."""
        if self._hub is None:
            self._hub = self._connecting()
        return self._hub

    def chosen(self, *, needed: bool = False) -> str | None:
        """Return the id of the chosen project."""
        if self._project_id is None and self._project is not None:
            self._project_id = self.hub.projects.get(self._project).id
        if self._project_id is None and needed:
            raise UsageError("No project is chosen. Choose one with `%nabla project NAME`.")
        return self._project_id

    def help(self, rest: list[str]) -> None:
        """Print the words."""
        _none(rest)
        self._say(HELP)

    def project(self, rest: list[str]) -> Any:
        """Choose a project, or return the chosen one."""
        if rest:
            found = self.hub.projects.get(_one(rest, "NAME"))
            self._project, self._project_id = found.name, found.id
            return found
        chosen = self.chosen()
        if chosen is None:
            self._say("No project is chosen. Choose one with `%nabla project NAME`.")
            return None
        return self.hub.projects.get(chosen)

    def projects(self, rest: list[str]) -> Table:
        """Return your projects."""
        _none(rest)
        return Table(
            self.hub.projects.list(),
            {"name": lambda p: p.name, "id": lambda p: p.id, "created": lambda p: p.created_at},
            "No project yet: `nablahub projects create NAME` makes one.",
        )

    def datasets(self, rest: list[str]) -> Table:
        """Return the project's datasets."""
        _none(rest)
        return Table(
            self.hub.datasets.list(project=self.chosen()),
            {
                "name": lambda d: d.name,
                "latest version": lambda d: d.latest_version and d.latest_version.ref,
                "files": lambda d: d.latest_version and d.latest_version.files,
                "size": lambda d: d.latest_version and size_text(d.latest_version.bytes),
            },
            "No dataset yet: `nablahub datasets put --create NAME FOLDER` makes one.",
        )

    def models(self, rest: list[str]) -> Table:
        """Return the project's models."""
        _none(rest)
        return Table(
            self.hub.models.list(project=self.chosen()),
            {
                "name": lambda m: m.name,
                "latest version": lambda m: m.latest_version and m.latest_version.ref,
                "format": lambda m: m.latest_version and m.latest_version.format,
            },
            "No model yet: a workflow's job with create-model@v1 makes one.",
        )

    def workflows(self, rest: list[str]) -> Table:
        """Return the project's workflows."""
        _none(rest)
        return Table(
            self.hub.workflows.list(self.chosen()),
            {
                "name": lambda w: w.name,
                "jobs": lambda w: ", ".join(job.name for job in w.jobs),
                "latest run": lambda w: (
                    w.latest_run and f"{w.latest_run.number} {state_text(w.latest_run.state)}"
                ),
            },
            "No workflow yet: put its YAML into a cell that begins with `%%nabla workflow NAME`.",
        )

    def runs(self, rest: list[str]) -> Table:
        """Return the project's runs."""
        _none(rest)
        return Table(
            self.hub.workflows.runs(project=self.chosen()),
            {
                "workflow": lambda r: r.workflow_name, "run": lambda r: r.number,
                "state": lambda r: state_text(r.state), "started": lambda r: r.created_at,
                "message": lambda r: r.message or None,
            },
            "No run yet: `%nabla run WORKFLOW` starts one.",
        )  # fmt: skip

    def deployments(self, rest: list[str]) -> Table:
        """Return the project's deployments."""
        _none(rest)
        return Table(
            self.hub.deployments.list(self.chosen()),
            {
                "name": lambda d: d.name, "state": lambda d: state_text(d.state),
                "model": lambda d: d.model_ref, "endpoint": lambda d: d.endpoint,
            },
            "No deployment yet: `nablahub deployments create` makes one.",
        )  # fmt: skip

    def mount(self, rest: list[str]) -> Path:
        """Show a version or a bucket in /datasets of this server, and return where it is."""
        words, given = _flags(rest, "--replace", "--rw")
        if not 1 <= len(words) <= 2:
            raise UsageError(
                "Say which: `%nabla mount DATASET[:VERSION] [AS] [--replace]`, or "
                "`%nabla mount s3:PROVIDER/FOLDER [AS] [--rw]`."
            )
        name = words[1].removeprefix(f"{DATASETS}/") if words[1:] else None
        if "--rw" in given and not words[0].startswith(S3):
            raise UsageError("A version is always read-only: --rw is for s3:PROVIDER/FOLDER.")
        made = self.hub.mounts.mount(
            words[0], name, replace="--replace" in given, read_only="--rw" not in given,
            tell=self._say,
        )  # fmt: skip
        if made.bucket is None:
            more = f"{made.files} files, {size_text(made.bytes)}"
        else:
            more = "read-only" if made.read_only else "writable"
        self._say(f"{made.source} ({more}) is mounted.")
        return Path(made.path)

    def sync(self, rest: list[str]) -> None:
        """Write what was changed in a bucket's folder to it, and return when it is there."""
        done = self.hub.mounts.send(_one(rest, "NAME"), tell=self._say)
        self._say(f"What was written in {done.path} is in {done.source}.")

    def unmount(self, rest: list[str]) -> None:
        """Show something in /datasets no more."""
        words, given = _flags(rest, "--discard")
        gone = self.hub.mounts.unmount(
            _one(words, "NAME"), discard="--discard" in given, tell=self._say
        )
        self._say(f"{gone.path} is unmounted.")

    def mounts(self, rest: list[str]) -> Table:
        """Return what this server shows in /datasets."""
        _none(rest)
        return Table(
            self.hub.mounts.list(),
            {
                "path": lambda m: m.path, "shows": lambda m: m.source,
                "mode": lambda m: "ro" if m.read_only else "rw",
                "files": lambda m: m.files if m.bucket is None else None,
                "size": lambda m: size_text(m.bytes) if m.bucket is None else None,
                "message": lambda m: m.unsent or m.message or None,
            },
            f"Nothing is mounted in {DATASETS}: `%nabla mount DATASET` shows its latest version.",
        )  # fmt: skip

    def run(self, rest: list[str]) -> Any:
        """Start a run, tell each job's states, and return the run once it has ended."""

        def tell(job: Any) -> None:
            self._say(f"{state_text(job.state)}  {job.name}  {job.message}".rstrip())

        ended = self.hub.workflows.wait(self.start(rest), each_news(tell))
        if ended.state != "Succeeded":
            # The cell must fail, or "run all" would go on with what is not there.
            raise UsageError(f"Run {ended.number} ended as {ended.state}. {ended.message}")
        return ended

    def start(self, rest: list[str]) -> Any:
        """Start a run and return it."""
        if not rest:
            raise UsageError("Say which workflow: `%nabla run WORKFLOW [NAME=VALUE …]`.")
        inputs = {}
        for word in rest[1:]:
            name, equals, value = word.partition("=")
            if not equals:
                raise UsageError(f"'{word}' is not NAME=VALUE.")
            inputs[name] = value
        found = self.hub.workflows.get(rest[0], project=self.chosen())
        return self.hub.workflows.start(found.id, inputs)

    def workflow_cell(self, rest: list[str], cell: str) -> Any:
        """Create or change the workflow whose YAML is the cell."""
        name = _one(rest, "NAME") if rest else None
        made = self.hub.workflows.apply(self.chosen(needed=True), cell, name=name)
        for fault in made.warnings:
            self._say(f"! line {fault.line}: {fault.message} {fault.hint}".rstrip())
        return made

    def job_cell(self, rest: list[str], cell: str) -> Any:
        """Run the cell as a bash script in a job and print what it writes."""
        spec = JobSpec(
            project_id=self.chosen(needed=True) or "",
            name="cell",
            command=["bash", "/work/cell.sh"],
            files={"cell.sh": cell},
            environment=_one(rest, "ENVIRONMENT") if rest else "default",
        )
        jobs = self.hub.jobs
        job = jobs.submit(spec)
        for text in jobs.follow(job.id, told=self._say):
            print(text, end="")  # noqa: T201 -- the log goes into the cell's output
        ended = jobs.get(job.id)
        if ended.state != "Succeeded":
            raise UsageError(f"The job ended as {ended.state}. {ended.message}")
        return ended

    def _say(self, text: str) -> None:
        print(text)  # noqa: T201 -- what a magic says goes into the cell's output


def _none(rest: list[str]) -> None:
    if rest:
        raise UsageError(f"Nothing may follow here: {' '.join(rest)}")


def _flags(rest: list[str], *known: str) -> tuple[list[str], set[str]]:
    """Return the words, and which of the flags are among them."""
    return [word for word in rest if word not in known], set(rest) & set(known)


def _one(rest: list[str], what: str) -> str:
    if len(rest) != 1:
        raise UsageError(f"Exactly one {what} must follow.")
    return rest[0]


_LINE_WORDS: Mapping[str, Callable[..., Any]] = {
    name: getattr(NablaMagics, name)
    for name in (
        "help", "project", "projects", "datasets", "models", "workflows", "runs", "deployments",
        "mount", "mounts", "sync", "unmount", "run", "start",
    )
}  # fmt: skip
_CELL_WORDS: Mapping[str, Callable[..., Any]] = {
    "workflow": NablaMagics.workflow_cell,
    "job": NablaMagics.job_cell,
}
