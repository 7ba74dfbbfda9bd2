"""What can be wrong with a workflow besides its form: all of it at once, each with its place."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from nablahub.core.errors import Fault
from nablahub.core.specmodel import did_you_mean, read
from nablahub.core.yamlspec import Document, Path
from nablahub.workflows.actions import ACTIONS, NOT_YET, Action, ContainerArguments
from nablahub.workflows.graph import ancestors, cycles
from nablahub.workflows.references import WORKFLOW, UnknownReference, WorkflowValue, reference
from nablahub.workflows.spec import Job, JobInput, Output, Part, Spec

MAX_JOBS = 1000
#: Of all jobs together.
MAX_NEEDS = 10_000
#: Faults of one kind that get a hint: looking for what was meant takes its time.
HINTED = 20
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class _Checker:
    source: Document
    spec: Spec
    files: Collection[str]
    faults: list[Fault] = field(default_factory=list)
    arguments: dict[str, Part] = field(default_factory=dict)
    before: dict[str, Collection[str]] = field(default_factory=dict)

    def add(self, path: Path, message: str, *, hint: str = "", key: bool = False) -> None:
        self.faults.append(self.source.fault(path, message, hint=hint, key=key))

    def run(self) -> None:
        jobs = self.spec.jobs
        if not jobs:
            # A file whose `jobs` has faults of form has been told about them already.
            if not isinstance(self.source.data, dict) or self._value(("jobs",)) in (None, {}):
                self.add((), "A workflow needs `jobs`, and in it at least one job.",
                         hint="Write `jobs: {<name>: {uses: script@v1, with: …}}`.")  # fmt: skip
            return
        if len(jobs) > MAX_JOBS:
            self.add(("jobs",), f"A workflow can have {MAX_JOBS} jobs, not {len(jobs)}.")
            return
        total = sum(len(job.needs) for job in jobs.values())
        if total > MAX_NEEDS:
            self.add(("jobs",), f"The jobs of a workflow can have {MAX_NEEDS} needs in all, not "
                     f"{total}.", hint="Name only what a job needs directly.")  # fmt: skip
            return
        for name, workflow_input in self.spec.inputs.items():
            self.check_workflow_input(name, workflow_input.type)
        self.check_env(("defaults", "env"), self.spec.defaults.env)
        needs = {name: job.needs for name, job in jobs.items()}
        self.check_needs(needs)
        for name, job in jobs.items():
            self.check_action(name, job)
            self.check_env(("jobs", name, "env"), job.env)
            for key, job_input in job.inputs.items():
                self.check_input(("jobs", name, "inputs", key), job_input, name, needs)
            for key, output in job.outputs.items():
                self.check_output(("jobs", name, "outputs", key), output)

    def check_env(self, path: Path, env: Mapping[str, str]) -> None:
        for key, value in env.items():
            if "\0" in value:
                self.add((*path, key), f"The variable '{key}' can't hold the character NUL.")
            if not VARIABLE.fullmatch(key):
                self.add((*path, key), f"'{key}' can't be the name of a variable.", key=True,
                         hint="Use letters, digits and '_', and no digit first.")  # fmt: skip

    def check_workflow_input(self, name: str, kind: str) -> None:
        if kind in ("volume", "alias"):
            self.add(
                ("inputs", name, "type"),
                f"A workflow's input can't be of type {kind}.",
                hint="Use dataset, model or string.",
            )

    def check_needs(self, needs: Mapping[str, list[str]]) -> None:
        unknown = 0
        for name, others in needs.items():
            seen: set[str] = set()
            for index, other in enumerate(others):
                path = self._need(name, index)
                if other == name:
                    self.add(path, f"The job '{name}' needs itself.", hint="Remove it.")
                elif other not in needs:
                    unknown += 1
                    hint = did_you_mean(other, needs) if unknown <= HINTED else ""
                    self.add(path, f"'{name}' needs '{other}', and no job is called so.", hint=hint)
                elif other in seen:
                    self.add(path, f"'{other}' stands in `needs` twice.", hint="Remove one.")
                seen.add(other)
        proper = {n: [o for o in others if o != n] for n, others in needs.items()}
        for cycle in cycles(proper):
            way = " → ".join(cycle)
            self.add(
                self._need(cycle[0], needs[cycle[0]].index(cycle[1])),
                f"These jobs wait for each other: {way} (each needs the next).",
                hint="Remove one of these needs.",
            )

    def _need(self, job: str, index: int) -> Path:
        path: Path = ("jobs", job, "needs", index)
        return path if path in self.source.marks or not self.source.marks else path[:-1]

    def check_action(self, name: str, job: Job) -> None:
        path: Path = ("jobs", name, "uses")
        if job.uses is None:
            if not self._has(path):
                hint = f"Add `uses:` with one of {', '.join(ACTIONS)}."
                self.add(path[:-1], f"The job '{name}' does not say which action it uses.",
                         hint=hint, key=True)  # fmt: skip
            return
        action = ACTIONS.get(job.uses)
        if action is None:
            if job.uses not in NOT_YET:
                hint = did_you_mean(job.uses, [*ACTIONS, *NOT_YET])
                self.add(path, f"There is no action '{job.uses}'.", hint=hint)
            return
        self.check_arguments(name, job, action)
        if not action.runs:
            self.check_model(name, job)

    def _has(self, path: Path) -> bool:
        data: Any = self.source.data
        for part in path:
            if not isinstance(data, dict) or part not in data:
                return False
            data = data[part]
        return True

    def check_arguments(self, name: str, job: Job, action: Action) -> None:
        path: Path = ("jobs", name, "with")
        if not isinstance(self._value(path), dict):
            if not self._has(path) or self._value(path) is None:
                self.add(path[:-1], f"{action.name} needs `with`.", hint=action.usage, key=True)
            return
        arguments, faults = read(self.source, action.arguments, path)
        self.faults += faults
        if arguments is None or faults:
            return
        self.arguments[name] = arguments
        for key, value in getattr(arguments, "parameters", {}).items():
            self.check_parameter((*path, "parameters", key), value)
        if isinstance(arguments, ContainerArguments) and not arguments.command + arguments.args:
            self.add(path, "container@v1 needs `command` or `args`: an environment here has no "
                     "command of its own.", hint=action.usage)  # fmt: skip
        notebook = getattr(arguments, "notebook", None)
        if notebook is not None:
            self.check_notebook((*path, "notebook"), notebook, job)
        copy = getattr(arguments, "path", None)
        if copy is not None:
            self.check_notebook_copy((*path, "path"), copy, job)

    def _value(self, path: Path) -> Any:
        data: Any = self.source.data
        for part in path:
            data = data.get(part) if isinstance(data, dict) else None
        return data

    def check_parameter(self, path: Path, value: Any) -> None:
        if isinstance(value, str) and value.startswith(WORKFLOW):
            try:
                reference(value, self.spec)
            except UnknownReference as unknown:
                self.add(path, str(unknown), hint=unknown.hint)

    def check_notebook(self, path: Path, notebook: str, job: Job) -> None:
        if not notebook.startswith("/"):
            if notebook not in self.files:
                hint = did_you_mean(notebook, self.files) or (
                    "Send the file along with the workflow (`--file`), or name a path under "
                    "/inputs or /storage."
                )
                self.add(path, f"The workflow carries no file '{notebook}'.", hint=hint)
            return
        parts = notebook.split("/")
        if parts[1] == "inputs" and len(parts) > 3:
            if parts[2] not in job.inputs:
                hint = did_you_mean(parts[2], job.inputs) or "Declare it under the job's inputs."
                self.add(path, f"The job has no input '{parts[2]}'.", hint=hint)
        elif parts[1] != "storage":
            self.add(path, f"A job finds no file at '{notebook}'.",
                     hint="Name a path under /inputs/<name>/ or /storage/.")  # fmt: skip

    def check_notebook_copy(self, path: Path, copy: str, job: Job) -> None:
        parts = copy.split("/")
        inside = parts[1:2] == ["outputs"] and len(parts) > 3 and parts[2] in job.outputs
        if copy.startswith("/") and not inside and parts[1] not in ("storage", "artifacts"):
            self.add(path, f"A job can't write '{copy}'.",
                     hint="Name a path under /outputs/<name>/ or /storage/.")  # fmt: skip

    def check_model(self, name: str, job: Job) -> None:
        path: Path = ("jobs", name)
        if len(job.inputs) != 1:
            self.add(
                (*path, "inputs") if job.inputs else path,
                f"create-model@v1 takes exactly one input, a dataset; here are {len(job.inputs)}.",
                hint="Write `inputs: {model: <job>.outputs.<name>}`.",
                key=True,
            )
        for key, output in job.outputs.items():
            if output.type != "string":
                self.add((*path, "outputs", key, "type"), "create-model@v1 gives the model's id, "
                         "which is a string.", hint="Write `type: string`.")  # fmt: skip

    def check_output(self, path: Path, output: Output) -> None:
        if output.type in ("model", "bucket", "alias"):
            hint = "Use dataset, volume or string."
            if output.type == "bucket":
                hint = "Write into an input of that type, with `readOnly: false`."
            if output.type == "model":
                hint = "Commit a dataset and make it a model by a job with create-model@v1."
            self.add((*path, "type"), f"An output can't be of type {output.type}.", hint=hint)
        named = output.target.reference if output.target is not None else None
        if output.type == "dataset" and named is None:
            self.add(path, f"The output '{path[-1]}' does not say which dataset it goes to.",
                     hint="Add `with: {ref: <name of a dataset>}`.", key=True)  # fmt: skip
        elif output.type == "dataset" and ":" in str(named):
            self.add((*path, "with"), "A version never changes, so an output goes to a dataset "
                     "as a whole.", hint="Leave out what follows ':'.")  # fmt: skip

    def check_input(
        self, path: Path, item: JobInput, job: str, needs: Mapping[str, list[str]]
    ) -> None:
        if item.source is None:
            self.check_inline(path, item)
            return
        if item.type is not None or item.given is not None:
            self.add(path, "An input is either a reference or declared here, not both.")
        try:
            target = reference(item.source, self.spec)
        except UnknownReference as unknown:
            self.add(path, str(unknown), hint=unknown.hint)
            return
        if isinstance(target, WorkflowValue):
            return
        if target.job == job:
            self.add(path, "A job can't take its own output as an input.")
        elif target.job not in self._ancestors(needs, job):
            self.add(
                path,
                f"'{job}' takes an output of '{target.job}' and does not wait for it.",
                hint=f"Add '{target.job}' to its `needs`.",
            )

    def _ancestors(self, needs: Mapping[str, list[str]], job: str) -> Collection[str]:
        if job not in self.before:
            self.before[job] = ancestors(needs, job)
        return self.before[job]

    def check_inline(self, path: Path, item: JobInput) -> None:
        if item.type is None:
            self.add(path, f"The input '{path[-1]}' has neither a reference nor a type.",
                     hint="Write `<job>.outputs.<name>`, `workflow.inputs.<name>` or "
                     "`{type: dataset, with: {ref: <name>}}`.", key=True)  # fmt: skip
        elif item.type in ("volume", "alias"):
            self.add((*path, "type"), f"An input declared here can't be of type {item.type}.",
                     hint="Take the volume of another job: `<job>.outputs.<name>`.")  # fmt: skip
        elif item.type == "string" and (item.given is None or item.given.value is None):
            self.add(path, "This string has no value.", hint="Add `with: {value: …}`.", key=True)
        elif item.type in ("dataset", "model", "bucket") and (
            item.given is None or item.given.reference is None
        ):
            what = "storage provider>/<folder" if item.type == "bucket" else "name or id"
            self.add(path, f"This input does not say which {item.type}.",
                     hint=f"Add `with: {{ref: <{what}>}}`.", key=True)  # fmt: skip


def check(source: Document, spec: Spec, files: Collection[str] = ()) -> list[Fault]:
    """Return what is wrong with a workflow wherever it is run.

    Parameters
    ----------
    source
        The document the spec was read from; gives the places.
    spec
        What :func:`~nablahub.workflows.spec.parse` could read of it.
    files
        Names of the files that the workflow carries.
    """
    checker = _Checker(source, spec, files)
    checker.run()
    return checker.faults
