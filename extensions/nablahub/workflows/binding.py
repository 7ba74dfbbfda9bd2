"""Binds a run's inputs when it is started: what a reference means then, it means for ever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from nablahub.core.errors import Fault, NablaError
from nablahub.core.permissions import Principal
from nablahub.core.specmodel import did_you_mean
from nablahub.core.yamlspec import Document, Path
from nablahub.workflows.spec import Spec, With
from nablahub.workflows.types import InputValue, RunInput
from nablahub.workflows.work import Place, Work


@dataclass
class Binding:
    """What was bound, and what could not be."""

    inputs: dict[str, RunInput] = field(default_factory=dict)
    inline: dict[str, RunInput] = field(default_factory=dict)
    targets: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class Binder:
    """Looks references up in the name of whoever starts the run."""

    session: Session
    who: Principal
    place: Place
    work: Work
    source: Document
    spec: Spec

    def bind(self, given: Mapping[str, InputValue]) -> Binding:
        """Bind the workflow's inputs, the jobs' own ones and the output datasets."""
        found = self.look_up(given)
        if not found.faults:
            self._bind_outputs(found)
        return found

    def look_up(self, given: Mapping[str, InputValue]) -> Binding:
        """Bind what is read: all but the output datasets, which are made when missing."""
        found = Binding()
        for name in given:
            if name not in self.spec.inputs:
                hint = did_you_mean(name, self.spec.inputs) or "It takes no inputs."
                message = f"The workflow has no input '{name}'."
                found.faults.append(Fault(message, pointer=f"/inputs/{name}", hint=hint))
        for name, declared in self.spec.inputs.items():
            self._bind_input(found, name, declared.type, given.get(name), declared.optional)
        for job_name, job in self.spec.jobs.items():
            for name, item in job.inputs.items():
                if item.source is None and item.type is not None and item.given is not None:
                    path: Path = ("jobs", job_name, "inputs", name)
                    bound = self._look_up(found, item.type, item.given, path, None)
                    if bound is not None:
                        found.inline[f"{job_name}.{name}"] = bound
        return found

    def _bind_input(
        self, found: Binding, name: str, kind: str, value: InputValue | None, optional: bool
    ) -> None:
        default = self.spec.inputs[name].default
        given = default
        if value is not None:
            # Whether it may be written to is the workflow's to say.
            read_only = default is None or default.read_only
            given = With(id=value.id, ref=value.ref, value=value.value, readOnly=read_only)
        word = "value" if kind == "string" else "ref"
        empty = given is None or (given.value if kind == "string" else given.reference) is None
        pointer = f"/inputs/{name}"
        if empty or given is None:
            if value is not None:
                message = f"The input '{name}' is a {kind}, so it takes `{word}`."
                hint = f'Write {{"{word}": "…"}}.'
                found.faults.append(Fault(message, pointer=pointer, hint=hint))
            elif not optional:
                message = f"The input '{name}' (a {kind}) was not given, and has no default."
                hint = f'Give it: `--input {name}=…`, or {{"{name}": {{"{word}": "…"}}}}.'
                found.faults.append(Fault(message, pointer=pointer, hint=hint))
            return
        path: Path | None = None if value is not None else ("inputs", name, "with")
        bound = self._look_up(found, kind, given, path, pointer)
        if bound is not None:
            found.inputs[name] = bound

    def _look_up(
        self, found: Binding, kind: str, given: With, path: Path | None, pointer: str | None
    ) -> RunInput | None:
        if kind == "string":
            return RunInput(kind="string", value=given.value, given=given.value)
        ref = given.reference or ""
        if kind == "bucket":
            return self._look_up_bucket(found, given, path, pointer)
        look = self.work.resolve_model if kind == "model" else self.work.resolve_dataset
        try:
            version = look(self.session, self.who, self.place, ref)
        except NablaError as error:
            found.faults.append(self._fault(error, path, pointer))
            return None
        return RunInput(kind="model" if kind == "model" else "dataset", ref=version, given=ref)

    def _look_up_bucket(
        self, found: Binding, given: With, path: Path | None, pointer: str | None
    ) -> RunInput | None:
        ref = given.reference or ""
        try:
            folder = self.work.resolve_bucket(
                self.session, self.who, self.place, ref, read_only=given.read_only
            )
        except NablaError as error:
            found.faults.append(self._fault(error, path, pointer))
            return None
        return RunInput(kind="bucket", ref=folder, given=ref, read_only=given.read_only)

    def _fault(self, error: NablaError, path: Path | None, pointer: str | None) -> Fault:
        if path is not None:
            return self.source.fault(path, error.detail, hint=error.hint)
        return Fault(error.detail, pointer=pointer or "", hint=error.hint)

    def _bind_outputs(self, found: Binding) -> None:
        for job_name, job in self.spec.jobs.items():
            for name, output in job.outputs.items():
                if output.type != "dataset" or output.target is None:
                    continue
                ref = output.target.reference or ""
                try:
                    dataset = self.work.ensure_dataset(self.session, self.who, self.place, ref)
                except NablaError as error:
                    path: Path = ("jobs", job_name, "outputs", name, "with")
                    found.faults.append(self.source.fault(path, error.detail, hint=error.hint))
                else:
                    found.targets[f"{job_name}.{name}"] = dataset
