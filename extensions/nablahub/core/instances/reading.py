"""Reads an instance types file: the catalogue it makes, or everything that is wrong with it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from nablahub.core import adminfile
from nablahub.core.adminfile import BadFile, document
from nablahub.core.errors import Fault
from nablahub.core.instances.form import TypeEntry, TypesFile
from nablahub.core.instances.types import InstanceType, Toleration
from nablahub.core.specmodel import did_you_mean, read
from nablahub.core.yamlspec import Document

SHIPPED: Final = "shipped.yaml"
#: What `null` means for each field: the value of a type that does not name it.
_PLAIN: Final = InstanceType("", 1, 1)


class BadInstanceTypes(BadFile):
    """An instance types file cannot be used."""

    code = "bad_instance_types"
    title = "The instance types cannot be used"
    check = "nablahub instances check"


def parse(
    text: str, place: str, base: Mapping[str, InstanceType] | None = None
) -> dict[str, InstanceType]:
    """Return the instance types that a file's text makes.

    Parameters
    ----------
    text : str
        YAML.
    place : str
        What errors call the file.
    base : mapping of str to InstanceType
        What the file is laid over; None for the shipped types.

    Raises
    ------
    BadInstanceTypes
        With every fault, each with its line.
    """
    known = CATALOGUE if base is None else base
    source = document(text, place, BadInstanceTypes, first="types")
    if source is None:
        return dict(known)
    form, faults = read(source, TypesFile)
    found = dict(known)
    for name, given in (form.types if form is not None else {}).items():
        wrong = _contradictions(source, name, given, known.get(name))
        faults += wrong
        if not wrong:
            found[name] = _made(name, given, known.get(name))
    if form is not None and form.offered is not None:
        written = source.data.get("types")
        faulty = written if isinstance(written, dict) else {}
        faults += _unknown(source, form.offered, [*found, *faulty])
        found = {name: found[name] for name in form.offered if name in found}
        if not found and not faults:
            faults.append(
                source.fault(("offered",), "No instance type is offered.", hint="Name some.")
            )
    if faults:
        raise BadInstanceTypes(place, faults)
    return found


def read_text(path: Path) -> str:
    """Return what a file holds; BadInstanceTypes when it cannot be read."""
    return adminfile.read_text(path, BadInstanceTypes)


def _contradictions(
    source: Document, name: str, given: TypeEntry, known: InstanceType | None
) -> list[Fault]:
    """Return what is wrong with an entry though each field by itself is right."""
    path, written = ("types", name), source.data["types"][name]
    faults = []
    needed = {"cpus": "`cpus: 4`", "memory_gib": "`memory_gib: 16`"} if known is None else {}
    for field, example in needed.items():
        if written.get(field) is None:
            message = f"The instance type '{name}' is new, so it needs '{field}'."
            faults.append(source.fault(path, message, hint=f"Add it, such as {example}.", key=True))
    gpu = given.gpu if "gpu" in given.model_fields_set or known is None else known.gpu
    if gpu is None and given.gpus:
        faults.append(
            source.fault(
                (*path, "gpus"), f"'{name}' has {given.gpus} GPUs and does not say which.",
                hint="Add `gpu:` with their model, such as `gpu: A100`.",
            )
        )  # fmt: skip
    if given.gpu is not None and given.gpus == 0:
        faults.append(
            source.fault(
                (*path, "gpus"), f"'{name}' names the GPU {given.gpu} and has none of them.",
                hint="Write `gpus: 1`, or remove `gpu`.",
            )
        )  # fmt: skip
    return faults


def _made(name: str, given: TypeEntry, known: InstanceType | None) -> InstanceType:
    fields: dict[str, Any] = {}
    for field, value in given.given().items():
        fields[field] = getattr(_PLAIN, field) if value is None else value
    if given.tolerations is not None:
        fields["tolerations"] = tuple(Toleration(**t.model_dump()) for t in given.tolerations)
    made = dataclasses.replace(known or dataclasses.replace(_PLAIN, name=name), **fields)
    if made.gpu is None:
        return dataclasses.replace(made, gpus=0, gpu_memory_gib=0)
    return made if made.gpus else dataclasses.replace(made, gpus=1)


def _unknown(source: Document, offered: list[str], names: list[str]) -> list[Fault]:
    faults = []
    for index, name in enumerate(offered):
        if name not in names:
            message = f"There is no instance type '{name}' to be offered."
            hint = did_you_mean(name, names)
            faults.append(source.fault(("offered", index), message, hint=hint))
        elif name in offered[:index]:
            message = f"'{name}' is offered a second time."
            faults.append(source.fault(("offered", index), message, hint="Remove one of the two."))
    return faults


class _Shipped(Mapping[str, InstanceType]):
    """The shipped types, read when somebody first asks: most commands never do."""

    @functools.cached_property
    def _types(self) -> dict[str, InstanceType]:
        text = (files("nablahub.core.instances") / SHIPPED).read_text(encoding="utf-8")
        return parse(text, SHIPPED, {})

    def __getitem__(self, name: str) -> InstanceType:
        return self._types[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._types)

    def __len__(self) -> int:
        return len(self._types)


#: Every instance type that ships, by its name, the small ones first.
CATALOGUE: Final[Mapping[str, InstanceType]] = _Shipped()
