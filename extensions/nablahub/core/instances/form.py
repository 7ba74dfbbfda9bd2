"""The form of an instance types file: its keys, and what each may say."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from nablahub.core.specmodel import Text

_LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_DOMAIN = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_TYPE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+._-]{0,62}")
LONGEST_HOURS: Final = 366 * 24


def _type_name(text: str) -> str:
    if not _TYPE_NAME.fullmatch(text):
        raise ValueError(
            "A name has up to 63 letters, digits and the signs + . _ -, the first a letter or digit"
        )
    return text


def _label_key(text: str) -> str:
    """Check a key of a Kubernetes label or taint: a name, with a domain before it or without."""
    domain, slash, name = text.rpartition("/")
    if not _LABEL.fullmatch(name) or (slash and not _is_domain(domain)):
        raise ValueError(
            f"'{text}' can't be a key in Kubernetes. Write it as example.com/name or name"
        )
    return text


def _label_value(text: str) -> str:
    if text and not _LABEL.fullmatch(text):
        raise ValueError(
            f"'{text}' can't be a value in Kubernetes: up to 63 letters, digits and the signs "
            ". _ -, a letter or digit at both ends"
        )
    return text


def _domain(text: str) -> str:
    if not _is_domain(text):
        raise ValueError(
            f"'{text}' can't be a name in Kubernetes: small letters, digits, dots and hyphens"
        )
    return text


def _is_domain(text: str) -> bool:
    return len(text) <= 253 and _DOMAIN.fullmatch(text) is not None


def _resource(text: str) -> str:
    if "/" not in text:
        raise ValueError(f"'{text}' is no resource of a device. Write it as nvidia.com/gpu")
    return _label_key(text)


Name = Annotated[Text, Field(min_length=1, max_length=255)]
TypeName = Annotated[Text, AfterValidator(_type_name)]
LabelKey = Annotated[Text, AfterValidator(_label_key)]
LabelValue = Annotated[Text, AfterValidator(_label_value)]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TolerationEntry(_Form):
    """A taint of nodes that pods put up with, with the words of Kubernetes."""

    key: LabelKey | None = Field(
        default=None, description="Key of the taint; left out, with `Exists`, for every taint"
    )
    operator: Literal["Equal", "Exists"] = Field(
        default="Equal", description="`Exists` looks at the key alone"
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; left out for all of them"
    )
    seconds: int | None = Field(
        default=None, ge=0, strict=True,
        description="With `NoExecute`: how long a pod stays after the taint appeared, in seconds",
    )  # fmt: skip

    @model_validator(mode="after")
    def _check(self) -> TolerationEntry:
        """Refuse what the Kubernetes API would refuse when the pod is made, hours later."""
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("`Exists` takes no value. Remove it, or write `operator: Equal`")
        if self.operator == "Equal" and self.key is None:
            raise ValueError("`Equal` needs a key. Add it, or write `operator: Exists`")
        if self.seconds is not None and self.effect != "NoExecute":
            raise ValueError("`seconds` needs `effect: NoExecute`")
        return self


class TypeEntry(_Form):
    """An instance type. A shipped one keeps what is not written; `null` takes a limit away."""

    cpus: int | None = Field(
        default=None, ge=1, le=4096, strict=True,
        description="Processors; a new type needs it",
    )  # fmt: skip
    memory_gib: float | None = Field(
        default=None, gt=0, le=1_000_000, strict=True, allow_inf_nan=False,
        description="Main memory in GiB; a new type needs it",
    )  # fmt: skip
    gpu: Name | None = Field(
        default=None,
        description="Model of its GPUs, a word of the name that the driver gives, such as `A100`",
    )
    gpus: int | None = Field(
        default=None, ge=0, le=1024, strict=True, description="How many GPUs; 1 where `gpu` is set"
    )
    gpu_memory_gib: float | None = Field(
        default=None, ge=0, le=100_000, strict=True, allow_inf_nan=False,
        description="Memory of each GPU in GiB; a GPU with less is another type",
    )  # fmt: skip
    price: float | None = Field(
        default=None, ge=0, le=1_000_000, strict=True, allow_inf_nan=False,
        description="US dollars an hour; shown, never charged",
    )  # fmt: skip
    users: list[Name] | None = Field(
        default=None, description="Users who may take it, beside the members of `groups`"
    )
    groups: list[Name] | None = Field(
        default=None,
        description="Hub groups whose members may take it; everybody may without both",
    )
    max_hours: float | None = Field(
        default=None, gt=0, le=LONGEST_HOURS, strict=True, allow_inf_nan=False,
        description="Longest run of a server or job, in hours; deployments can't take such a type",
    )  # fmt: skip
    idle_minutes: float | None = Field(
        default=None, gt=0, le=LONGEST_HOURS * 60, strict=True, allow_inf_nan=False,
        description="Minutes unused after which a server is stopped, instead of the hub's "
        "`idle_timeout`",
    )  # fmt: skip
    node_selector: dict[LabelKey, LabelValue] | None = Field(
        default=None, description="Kubernetes: labels of the nodes that its pods go to"
    )
    tolerations: list[TolerationEntry] | None = Field(
        default=None, description="Kubernetes: taints of nodes that its pods put up with"
    )
    runtime_class: Annotated[Text, AfterValidator(_domain)] | None = Field(
        default=None, description="Kubernetes: RuntimeClass of its pods, such as `nvidia`"
    )
    gpu_resource: Annotated[Text, AfterValidator(_resource)] | None = Field(
        default=None,
        description="Kubernetes: resource by which its GPUs are asked for, `nvidia.com/gpu` when "
        "left out",
    )

    def given(self) -> dict[str, Any]:
        """Return the fields that are written, as ``InstanceType`` takes them."""
        found = {name: getattr(self, name) for name in self.model_fields_set}
        for name in ("cpus", "memory_gib"):
            if found.get(name, 0) is None:  # every type has some: a shipped one keeps its own
                del found[name]
        for name in ("users", "groups"):
            if found.get(name) is not None:
                found[name] = frozenset(found[name])
        return found


class TypesFile(_Form):
    """The whole file."""

    offered: list[TypeName] | None = Field(
        default=None, description="Only these types are offered, in this order; all without it"
    )
    types: dict[TypeName, TypeEntry] = Field(
        default={}, description="Instance types by name: shipped ones changed, and new ones"
    )
