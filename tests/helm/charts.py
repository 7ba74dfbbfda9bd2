"""Our chart with its dependency beside it, and what helm makes of it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "nablahub"
STAND_IN = Path(__file__).parent / "jupyterhub"
#: The Kubernetes that templates are made for.
KUBERNETES = "1.34"


class HelmFailed(Exception):
    """What helm said when it refused."""


def helm(*arguments: str | Path, kubeconfig: Path | None = None) -> str:
    """Run helm and return what it printed; HelmFailed says what went wrong."""
    found = shutil.which("helm")
    if found is None:
        pytest.skip("no helm: it is not on PATH")
    env = {**os.environ, **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {})}
    done = subprocess.run(
        [found, *map(str, arguments)], env=env, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise HelmFailed(done.stdout + done.stderr)
    return done.stdout


def assemble(folder: Path, dependency: Path = STAND_IN) -> Path:
    """Copy our chart to a folder, with a dependency in the version that ours asks for."""
    chart = folder / "nablahub"
    shutil.copytree(CHART, chart)
    beside = chart / "charts" / "jupyterhub"
    shutil.copytree(dependency, beside)
    (wanted,) = load(chart / "Chart.yaml")["dependencies"]
    described = beside / "Chart.yaml"
    lines = re.sub(r"(?m)^version:.*$", f"version: {wanted['version']}", described.read_text())
    described.write_text(lines)
    return chart


def load(path: Path) -> Any:
    """Read a YAML file."""
    return YAML(typ="safe").load(path.read_text())


def write(path: Path, values: Mapping[str, Any]) -> Path:
    """Write values to a file and return its path; JSON, for which "yes" is no boolean."""
    path.write_text(json.dumps(dict(values)))
    return path


def template(chart: Path, *values: Path, options: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the objects that a chart makes of its values."""
    given = [word for file in values for word in ("--values", file)]
    text = helm(
        "template", "nablahub", chart, "--namespace", "here", f"--kube-version={KUBERNETES}.0",
        *given, *options,
    )  # fmt: skip
    return [document for document in YAML(typ="safe").load_all(text) if document]


def one(objects: Sequence[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    """Return the object of that kind and name."""
    (found,) = (o for o in objects if (o["kind"], o["metadata"]["name"]) == (kind, name))
    return found


def ours(objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the objects that our templates make."""
    return [
        o for o in objects
        if o["metadata"].get("labels", {}).get("app.kubernetes.io/name") == "nablahub"
    ]  # fmt: skip


def pods(objects: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the specs of all pods, by the name of what makes them."""
    found = {}
    for item in objects:
        if item["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job"):
            found[item["metadata"]["name"]] = item["spec"]["template"]["spec"]
        elif item["kind"] == "Pod":
            found[item["metadata"]["name"]] = item["spec"]
    return found


#: A template that holds what another one, which is no YAML, makes of the values.
_AS_OBJECT = """\
{{- define "said" }}%s{{ end }}
apiVersion: v1
kind: ConfigMap
metadata: {name: said}
data:
  said: {{ include "said" . | quote }}
"""


def notes(folder: Path, options: Sequence[str] = ()) -> str:
    """Return what the chart says when it is installed; helm alone renders that with a cluster."""
    chart = assemble(folder)
    templates = chart / "templates"
    (templates / "said.yaml").write_text(_AS_OBJECT % (templates / "NOTES.txt").read_text())
    said: str = one(template(chart, options=options), "ConfigMap", "said")["data"]["said"]
    return said
