"""Workflows over the REST API."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from nablahub.core.errors import NotFound
from nablahub.core.transport import Transport
from nablahub.workflows.errors import WorkflowNameTaken
from nablahub.workflows.types import Run, RunJob, Validation, Workflow, WorkflowDetail

Spec = str | dict[str, Any]
#: What may be given for an input: text (a string's value or a dataset's name), or the long form.
Given = Mapping[str, str | Mapping[str, Any]]


class WorkflowsAPI:
    """Workflows and their runs, as a client sees them."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def list(self, project: str | None = None) -> Iterator[Workflow]:
        """Yield your workflows, or a project's (by its id), newest first."""
        return map(Workflow.model_validate, self._hub.pages("/workflows", project=project))

    def get(self, ref: str, *, project: str | None = None) -> WorkflowDetail:
        """Return a workflow by its id, or by its name (in a project, by the project's id).

        Raises
        ------
        NotFound
            When there is none, or the name alone does not say which.
        """
        found = list(self._hub.pages("/workflows", name=ref, project=project))
        if len(found) > 1:
            raise NotFound(
                f"{len(found)} projects have a workflow called {ref!r}.",
                hint="Say which project (`--project`), or give the workflow's id.",
            )
        if not found and ("/" in ref or not ref):
            raise NotFound(f"Workflow {ref!r} was not found.", hint="Give its id or name.")
        path = f"/workflows/{found[0]['id'] if found else ref}"
        return WorkflowDetail.model_validate(self._hub.get(path))

    def create(
        self,
        project: str,
        spec: Spec,
        *,
        name: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> WorkflowDetail:
        """Create a workflow in a project (by its id); the error tells every fault of the spec."""
        body = {"project": project, "name": name, "spec": spec, "files": dict(files or {})}
        return WorkflowDetail.model_validate(self._hub.post("/workflows", body))

    def apply(
        self,
        project: str,
        spec: Spec,
        *,
        name: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> WorkflowDetail:
        """Create a workflow, or bring the project's one of that name to this spec.

        Doing it twice changes nothing the second time.
        """
        try:
            return self.create(project, spec, name=name, files=files)
        except WorkflowNameTaken as taken:
            wanted = name or _name_in(spec)
            if wanted is None:
                raise
            found = self.get(wanted, project=project)
            same = found.source == spec if isinstance(spec, str) else found.spec == spec
            if same and self._same_files(found, files or {}):
                return found
            if found.name != wanted:
                raise taken
            return self.change(found, spec=spec, files=dict(files or {}))

    def _same_files(self, found: WorkflowDetail, files: Mapping[str, str]) -> bool:
        if found.files != sorted(files):
            return False
        return all(self.file(found.id, name) == text for name, text in files.items())

    def file(self, workflow_id: str, name: str) -> str:
        """Return a file that a workflow carries."""
        with self._hub.stream("GET", f"/workflows/{workflow_id}/files/{name}") as answer:
            return answer.read().decode()

    def change(self, workflow: Workflow, **fields: Any) -> WorkflowDetail:
        """Change name, spec or files of the revision that was read."""
        path = f"/workflows/{workflow.id}"
        return WorkflowDetail.model_validate(
            self._hub.patch(path, fields, revision=workflow.revision)
        )

    def delete(self, workflow_id: str) -> None:
        """Delete a workflow and the record of its runs."""
        self._hub.delete(f"/workflows/{workflow_id}")

    def validate(self, spec: Spec, *, files: Mapping[str, str] | None = None) -> Validation:
        """Return everything that is wrong with a spec; nothing is stored."""
        body = {"spec": spec, "files": dict(files or {})}
        return Validation.model_validate(self._hub.post("/workflow-validations", body))

    def start(
        self,
        workflow_id: str,
        inputs: Given | None = None,
        *,
        workspace: str | None = None,
        key: str | None = None,
    ) -> Run:
        """Start a run.

        Parameters
        ----------
        workflow_id : str
            Id of the workflow.
        inputs : mapping
            By name: a text, or ``{"value": …}`` or ``{"ref": …}``.
        workspace : str or None
            Digest of a folder in which each of its jobs begins; see :meth:`JobsAPI.workspace`.
        key : str or None
            Starting with the same key again gives the same run.
        """
        kinds: dict[str, str] = {}
        if any(isinstance(value, str) for value in (inputs or {}).values()):
            kinds = {i.name: i.type for i in self.get(workflow_id).inputs}
        body = {
            name: value
            if not isinstance(value, str)
            else {"ref" if kinds.get(name) in ("dataset", "model", "bucket") else "value": value}
            for name, value in (inputs or {}).items()
        }
        asked = {"inputs": body, "workspace": workspace}
        return Run.model_validate(self._hub.post(f"/workflows/{workflow_id}/runs", asked, key=key))

    def runs(self, workflow_id: str | None = None, *, project: str | None = None) -> Iterator[Run]:
        """Yield the runs of a workflow, else of a project, else all of yours; newest first."""
        path = f"/workflows/{workflow_id}/runs" if workflow_id else "/runs"
        return map(Run.model_validate, self._hub.pages(path, project=project))

    def run(self, workflow_id: str, number: int | str) -> Run:
        """Return a run by its number or uuid."""
        return Run.model_validate(self._hub.get(f"/workflows/{workflow_id}/runs/{number}"))

    def cancel(self, workflow_id: str, number: int | str) -> Run:
        """Ask a run to end; nothing changes when it has."""
        path = f"/workflows/{workflow_id}/runs/{number}/cancel"
        return Run.model_validate(self._hub.post(path))

    def follow(self, run: Run) -> Iterator[Run]:
        """Yield the run as it is now and after each change, until it has ended."""
        path = f"/workflows/{run.workflow_id}/runs/{run.uuid}/changes"
        for event in self._hub.events(path):
            if event.event != "end":
                yield Run.model_validate(event.data)

    def wait(self, run: Run, told: Callable[[Run], None] | None = None) -> Run:
        """Return the run once it has ended; ``told`` hears of each change."""
        now = run
        for now in self.follow(run):
            if told is not None:
                told(now)
        return now


def each_news(tell: Callable[[RunJob], None]) -> Callable[[Run], None]:
    """Return what, told a run after each change, tells of its jobs that have changed.

    Those are a new state, and a new reason why the job does not go on.
    """
    known: dict[str, tuple[str, str]] = {}

    def told(run: Run) -> None:
        for job in run.jobs:
            if job.state == "Pending" and not job.job_id:
                continue
            state, message = known.get(job.name, ("", ""))
            if job.state != state or job.message not in ("", message):
                known[job.name] = (job.state, job.message)
                tell(job)

    return told


def _name_in(spec: Spec) -> str | None:
    """Return the name that a spec gives itself."""
    if isinstance(spec, str):
        # Only here, so that listing workflows need not load the YAML reader.
        from nablahub.core.yamlspec import load

        spec = load(spec).data
    name = spec.get("name") if isinstance(spec, dict) else None
    return None if name is None else str(name)
