"""Reads a deployment's spec: YAML or JSON in, a checked spec or every fault with its place out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final, get_args

from nablahub.core.errors import Fault
from nablahub.core.specmodel import did_you_mean, read
from nablahub.core.yamlspec import Document, document
from nablahub.deployments.errors import BadSpec
from nablahub.deployments.types import DeploymentSpec, Engine

ENGINES: Final = get_args(Engine)
#: Not a way to run a model, but who makes the pods of those that run it.
SELDON: Final = "seldon"
#: A model's format → the engine that serves it.
BY_FORMAT: Final[Mapping[str, Engine]] = {
    "ONNX": "onnx", "sklearn": "sklearn", "Custom": "python"
}  # fmt: skip
#: Engine → what the model server calls the format.
ENGINE_FORMATS: Final[Mapping[str, str]] = {
    "onnx": "onnx", "sklearn": "sklearn", "python": "custom"
}  # fmt: skip
#: Keys that Gradient's specs have and this release doesn't serve yet → what to do instead.
LATER: Final = {
    "image": "Serve a model: `model: <id or name>`; own images come with a later release.",
    "command": "Give the model a `model.py` with a class Model and use `engine: python`.",
    "port": "Remove it; the model server has one of its own.",
    "containerRegistry": "Remove it; own images come with a later release.",
    "env": "Remove it; the model server takes no variables yet.",
    "repositories": "Put the files into the model's version.",
    "integrations": "Put the files into the model's version.",
    "healthChecks": "Remove it; give a `sample` to be tried instead.",
    "models": "Write `model: <id or name>[:version]`.",
    "resources": "Write `replicas`, `instance_type` and `autoscaling` at the top level.",
    "apiVersion": "Remove it; there is one version of this form.",
    "region": "Remove it; it runs where the hub runs.",
}

#: A spec, and the places of its parts.
type SpecText = tuple[DeploymentSpec, Document]


def read_spec(source: str | Mapping[str, Any]) -> SpecText:
    """Read and check a spec by itself: seconds for a long one, so not in a writing transaction.

    Raises
    ------
    BadSpec
        With all its faults.
    MalformedSpec
        It isn't YAML.
    """
    found = document(source)
    spec, faults = read(found, DeploymentSpec)
    faults = [_explain(found, fault) for fault in faults]
    if isinstance(found.data, dict) and found.data.get("engine") == "custom":
        faults = [fault for fault in faults if fault.pointer != "/engine"]
        faults.append(
            found.fault(
                ("engine",), f"The engine {found.data['engine']!r} is not available yet.",
                hint=f"Use one of {', '.join((*ENGINES, SELDON))}.",
            )
        )  # fmt: skip
    if faults or spec is None:
        raise BadSpec(faults or [found.fault((), "The spec must be a mapping.")])
    return spec, found


def _explain(source: Document, fault: Fault) -> Fault:
    """Say of a known key of Gradient's what takes its place here."""
    key = fault.pointer.removeprefix("/")
    if key in LATER and isinstance(source.data, dict) and key in source.data:
        return source.fault((key,), f"'{key}' is not available here.", hint=LATER[key], key=True)
    return fault


def pick_engine(source: Document, spec: DeploymentSpec, format_: str) -> Engine:
    """Return the engine for a model's format; BadSpec when the spec names another.

    ``sklearn`` and ``python`` run code out of the model's files (in the sandbox), so a model of
    another format is never handed to them.
    """
    engine = BY_FORMAT.get(format_)
    if engine is None:
        raise BadSpec([
            source.fault(
                ("model",), f"A model of the format {format_} can't be served.",
                hint=f"Formats that can: {', '.join(BY_FORMAT)}.",
            )
        ])  # fmt: skip
    if spec.engine not in (None, engine, SELDON):
        raise BadSpec([
            source.fault(
                ("engine",), f"{spec.engine} can't serve a model of the format {format_}.",
                hint=f"Leave it out, or write `engine: {engine}`.",
            )
        ])  # fmt: skip
    return engine


def check_instance(source: Document, spec: DeploymentSpec, known: Mapping[str, str | None]) -> None:
    """Refuse an instance type that isn't known, or that no machine here can give.

    Parameters
    ----------
    known : mapping of str to (str or None)
        Name of each instance type → why it can't be had, or None.
    """
    if spec.instance_type not in known:
        raise BadSpec([
            source.fault(
                ("instance_type",), f"There is no instance type {spec.instance_type!r}.",
                hint=did_you_mean(spec.instance_type, known),
            )
        ])  # fmt: skip
    reason = known[spec.instance_type]
    if reason is not None:
        fitting = [name for name, why in known.items() if why is None]
        raise BadSpec([
            source.fault(
                ("instance_type",), f"{spec.instance_type} can't be had here: {reason}",
                hint=f"Those that fit: {', '.join(fitting) or 'none'}.",
            )
        ])  # fmt: skip


def check_scale(source: Document, spec: DeploymentSpec, *, several: bool) -> None:
    """Refuse what only a cluster has, where there is none, and a most that is below the least.

    Parameters
    ----------
    several : bool
        Whether model servers are pods of a cluster.
    """
    scaling = spec.autoscaling
    if spec.engine == SELDON and not several:
        raise BadSpec([
            source.fault(
                ("engine",), "Seldon Core runs on a Kubernetes cluster, and this hub's model "
                "servers are processes of one machine.",
                hint="Leave `engine` out: the same requests are answered.",
            )
        ])  # fmt: skip
    if scaling is None or not scaling.enabled:
        return
    if not several:
        raise BadSpec([
            source.fault(
                ("autoscaling",), "The number of servers can't follow their load here: they are "
                "processes of one machine, which is no bigger for having more of them.",
                hint="Remove it and write a fixed number of `replicas`.", key=True,
            )
        ])  # fmt: skip
    if scaling.max_replicas < spec.replicas:
        raise BadSpec([
            source.fault(
                ("autoscaling", "max_replicas"),
                f"There can't be {scaling.max_replicas} servers at most and {spec.replicas} "
                "at least.", hint="Raise it, or lower `replicas`.",
            )
        ])  # fmt: skip


def fingerprint(model_ref: str, engine: str, instance_type: str, maker: str | None = None) -> str:
    """Name what a spec's servers are made from: equal fingerprints share their servers."""
    parts = json.dumps([model_ref, engine, instance_type, *([maker] if maker else [])])
    return hashlib.sha256(parts.encode()).hexdigest()[:12]
