"""Settings, the state directory and the machine's tables, from the classes that hold them."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

from traitlets import HasTraits, TraitType
from traitlets.config import Configurable

from docs._ext import markdown as md
from nablahub.core.environments import TABLE, has_kernel, packages
from nablahub.core.instances import CATALOGUE
from nablahub.core.state import StateDir

#: What stands for the state directory in the page.
ROOT = Path("/STATE")
CONFIGURABLES = (
    "nablahub_hub.settings:NablaHub",
    "nablahub_hub.auth:LocalAuthenticator",
    "nablahub_spawner.instances:InstanceChoice",
    "nablahub_spawner.common:NablaSpawner",
    "nablahub_spawner.spawner:SandboxedSpawner",
    "nablahub_spawner.kubernetes.settings:PodSettings",
)

#: Classes whose settings are set on a class that derives from them.
SET_ON = {"PodSettings": "NablaKubeSpawner"}


def own_traits(cls: type[HasTraits]) -> dict[str, TraitType[Any, Any]]:
    """Return the configurable traits that a class itself declares."""
    return {
        name: trait
        for name, trait in cls.class_own_traits(config=True).items()
        if name in vars(cls) and name not in Configurable.class_trait_names()
    }


def configurable(place: str) -> type[HasTraits]:
    """Return a class by ``"package.module:Class"``."""
    module, _, name = place.partition(":")
    found: type[HasTraits] = getattr(importlib.import_module(module), name)
    return found


def traits() -> str:
    """Return a section for each setting of ``jupyterhub_config.py``."""
    parts = []
    for place in CONFIGURABLES:
        cls = configurable(place)
        declared = {n: t for n, t in own_traits(cls).items() if t.help}
        if not declared:
            continue
        shown = SET_ON.get(cls.__name__, cls.__name__)
        parts += [f"## {shown}", md.prose(cls.__doc__)]
        for name, trait in declared.items():
            parts += [f"### c.{shown}.{name}", _facts(trait), md.prose(trait.help)]
    return md.sections(*parts)


def _facts(trait: TraitType[Any, Any]) -> str:
    values = getattr(trait, "values", None)
    kind = type(trait).__name__
    if isinstance(values, list | tuple):
        kind += " of " + ", ".join(md.code(value) for value in values)
    if unit := trait.metadata.get("unit"):
        kind += f", in {unit}"
    low, high = getattr(trait, "min", None), getattr(trait, "max", None)
    bounds = [f"{word} {edge:g}" for word, edge in (("at least", low), ("at most", high))
              if edge is not None]  # fmt: skip
    return ", ".join([kind, *bounds, f"default {md.code(repr(trait.default()))}"]) + "."


def state_paths() -> dict[str, tuple[str, str]]:
    """Return, for each property of StateDir, the path below the root and its sentence."""
    state, found = StateDir(ROOT), {}
    for name, member in vars(StateDir).items():
        if isinstance(member, property):
            found[name] = (_relative(name, getattr(state, name)), md.prose(member.__doc__))
    return found


def _relative(name: str, path: Path) -> str:
    if name == "environments" and "NABLAHUB_ENVIRONMENTS_DIR" in os.environ:
        return name  # the variable moves it elsewhere; the page shows where it is without
    return path.relative_to(ROOT).as_posix()


def state() -> str:
    """Return a table of the state directory."""
    rows = sorted(
        (path, about.splitlines()[0], name) for name, (path, about) in state_paths().items()
    )
    return md.table(
        ("path", "what", "in code"),
        [(md.code(path), about, md.code(f"StateDir.{name}")) for path, about, name in rows],
    )


def instance_types() -> str:
    """Return a table of the instance types."""
    rows = [
        (
            md.code(row.name), row.cpus, f"{row.memory_gib:g} GiB",
            f"{row.gpus} × {row.gpu}, {row.gpu_memory_gib:g} GiB" if row.gpu else "–",
            "–" if row.price is None else f"{row.price:g}", row.limits or "–",
        )
        for row in CATALOGUE.values()
    ]  # fmt: skip
    return md.table(("name", "CPUs", "memory", "GPU", "$/h", "limits"), rows)


def environments() -> str:
    """Return a table of the environments, and what each holds."""
    rows = [
        (
            md.code(entry.name) if entry.jobs else f"{md.code(entry.name)} (ours; no job names it)",
            entry.summary,
            ", ".join(md.code(alias) for alias in entry.aliases) or "–",
            "yes" if has_kernel(entry.name) else "no",
        )
        for entry in TABLE.values()
    ]
    parts = [md.table(("name", "what for", "answers to as well", "notebooks"), rows)]
    for name in TABLE:
        held = ", ".join(f"{package} {version}" for package, version in packages(name).items())
        parts.append(f"`{name}`: {held}.")
    return md.sections(*parts)
