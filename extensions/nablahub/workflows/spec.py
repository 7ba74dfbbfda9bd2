"""What a workflow's YAML says, in Gradient's schema; nothing here knows this installation."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from nablahub.core.errors import Fault
from nablahub.core.specmodel import Text, read
from nablahub.core.yamlspec import Document

#: Names that become a path component (``/inputs/<name>``).
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
JOB_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_. -]{0,99}")


def _named(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(
            "a name is made of letters, digits, '_', '-' and '.', and starts with one of the "
            "first three"
        )
    return value


def _job_named(value: str) -> str:
    if not JOB_NAME.fullmatch(value):
        raise ValueError(
            "a job's name is made of letters, digits, spaces, '_', '-' and '.', and starts with "
            "a letter or digit"
        )
    return value


def _or_empty_map(value: Any) -> Any:
    return {} if value is None else value


def _or_list(value: Any) -> Any:
    if value is None:
        return []
    return [value] if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_named)]
JobName = Annotated[str, AfterValidator(_job_named)]
type Map[K, V] = Annotated[dict[K, V], BeforeValidator(_or_empty_map)]
Words = Annotated[list[Text], BeforeValidator(_or_list)]
Kind = Literal["dataset", "model", "volume", "string", "bucket", "alias"]
Timeout = Annotated[int, Field(gt=0, le=30 * 86400)]


class Part(BaseModel):
    """A mapping in the spec; a key that the schema does not have is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, serialize_by_alias=True)


class Filter(Part):
    """Which branches or tags start a run."""

    only: Words = []
    include: Words = []
    ignore: Words = []


class GitHubTrigger(Part):
    """A push to the linked repository."""

    branches: Filter | None = None
    tags: Filter | None = None


class Trigger(Part):
    """What starts runs by itself; kept, and acted upon by triggers when there are some."""

    github: GitHubTrigger | None = None


class Resources(Part):
    """Where a job runs."""

    instance_type: Text | None = Field(default=None, alias="instance-type")
    container_registries: Words = Field(default=[], alias="container-registries")


class Defaults(Part):
    """What holds for each job that does not say otherwise."""

    cluster_id: Text | None = Field(default=None, alias="clusterId")
    env: Map[str, Text] = {}
    resources: Resources = Resources()


class With(Part):
    """Which dataset, model, bucket or text; ``id`` and ``ref`` mean the same."""

    id: Text | None = None
    ref: Text | None = None
    value: Text | None = None
    read_only: bool = Field(default=True, alias="readOnly", description="Of a bucket")

    @property
    def reference(self) -> str | None:
        """Name or id, with or without version."""
        return self.ref or self.id


class WorkflowInput(Part):
    """Something given when a run is started; ``with`` holds the default."""

    type: Kind
    optional: bool = False
    default: With | None = Field(default=None, alias="with")


class JobInput(Part):
    """What a job finds under ``/inputs``: a reference, or a dataset named on the spot."""

    source: Text | None = Field(default=None, alias="from")
    type: Kind | None = None
    optional: bool = False
    given: With | None = Field(default=None, alias="with")

    @model_validator(mode="before")
    @classmethod
    def _reference(cls, value: Any) -> Any:
        return {"from": value} if isinstance(value, str) else value


class Output(Part):
    """What a job leaves under ``/outputs``."""

    type: Kind
    target: With | None = Field(default=None, alias="with")


class Job(Part):
    """One action on one machine."""

    uses: Text | None = None
    arguments: Map[str, Any] = Field(default={}, alias="with")
    needs: Words = []
    inputs: Map[Name, JobInput] = {}
    outputs: Map[Name, Output] = {}
    env: Map[str, Text] = {}
    resources: Resources = Resources()
    timeout: Timeout | None = Field(default=None, description="Seconds")


class Spec(Part):
    """A workflow."""

    name: Text | None = None
    on: Trigger | None = None
    context: Map[str, Any] = {}
    defaults: Defaults = Defaults()
    inputs: Map[Name, WorkflowInput] = {}
    timeout: Timeout | None = Field(default=None, description="Seconds, for the whole run")
    jobs: Map[JobName, Job] = {}

    def env(self, job: str) -> dict[str, str]:
        """Return a job's environment variables, the defaults included."""
        return {**self.defaults.env, **self.jobs[job].env}

    def instance_type(self, job: str) -> str | None:
        """Return the instance type a job asks for, by itself or by the defaults."""
        return self.jobs[job].resources.instance_type or self.defaults.resources.instance_type

    def dump(self) -> dict[str, Any]:
        """Return the spec as JSON has it; :func:`restore` reads it back."""
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def restore(data: dict[str, Any]) -> Spec:
    """Return the spec that :meth:`Spec.dump` wrote."""
    return Spec.model_validate(data)


#: Keys of a job; a "job" called like one of them is a line indented too little.
JOB_KEYS = frozenset({"uses", "with", "needs", "inputs", "outputs", "env", "resources", "timeout"})


def parse(source: Document) -> tuple[Spec | None, list[Fault]]:
    """Return what can be read of a workflow, and every fault of its form."""
    data = source.data
    if isinstance(data, dict):
        # YAML 1.1 readers make the key `on` of a file True, and JSON makes "true" of that.
        for key in (True, "true", "True"):
            if key in data and "on" not in data:
                data = {("on" if k == key else k): v for k, v in data.items()}
                marks = {
                    (("on", *path[1:]) if path[:1] == ("true",) else path): mark
                    for path, mark in source.marks.items()
                }
                source = Document(data, marks)
    dedented = _dedented(source)
    if dedented:
        jobs = {k: v for k, v in source.data["jobs"].items() if not _is_dedented(k, v)}
        source = Document({**source.data, "jobs": jobs}, source.marks)
    spec, faults = read(source, Spec)
    return spec, sorted([*dedented, *faults], key=lambda f: (f.line or 0, f.column or 0))


def _is_dedented(name: str, value: Any) -> bool:
    return name in JOB_KEYS and not (isinstance(value, dict) and "uses" in value)


def _dedented(source: Document) -> list[Fault]:
    """Return a fault for each key of a job that stands beside the jobs."""
    jobs = source.data.get("jobs") if isinstance(source.data, dict) else None
    if not isinstance(jobs, dict):
        return []
    real = [name for name in jobs if not _is_dedented(name, jobs[name])]
    if not real:
        return []
    faults, owner = [], real[0]
    for name in jobs:
        if name in real:
            owner = name
            continue
        faults.append(
            source.fault(
                ("jobs", name),
                f"'{name}' stands beside the jobs, as if it were one.",
                hint=f"Indent it so that it belongs to the job '{owner}'.",
                key=True,
            )
        )
    return faults
