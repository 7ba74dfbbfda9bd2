"""The pieces of work that are timed on a hub, and their bare counterparts."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import nbformat
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from nablahub.client import Hub
from nablahub.jobs.types import JobSpec

INPUT = [0.5] * 64


def one_line_job(hub: Hub, project_id: str) -> None:
    """Submit `true` and return when it has succeeded."""
    spec = JobSpec(project_id=project_id, command=["bash", "-c", "true"], instance_type="C3")
    job = hub.jobs.wait(hub.jobs.submit(spec).id)
    if job.state != "Succeeded":
        raise RuntimeError(f"{job.state}: {job.message}")


def notebook_text() -> str:
    """Return a notebook of three cells."""
    notebook = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "P"}}
    )
    for source in ("import json", "x = sum(range(1000))", "print(json.dumps({'x': x}))"):
        notebook.cells.append(nbformat.v4.new_code_cell(source))
    return str(nbformat.writes(notebook))


def notebook_job(hub: Hub, project_id: str) -> None:
    """Run the notebook as a workflow of one notebook@v1 job and return when it has succeeded."""
    spec = {"jobs": {"nb": {"uses": "notebook@v1", "with": {"notebook": "in.ipynb"}}}}
    files = {"in.ipynb": notebook_text()}
    workflow = hub.workflows.apply(project_id, json.dumps(spec), files=files, name="bench-notebook")
    run = hub.workflows.wait(hub.workflows.start(workflow.id))
    if run.state != "Succeeded":
        raise RuntimeError(f"{run.state}: {run.message}")


def model_bytes() -> bytes:
    """Return a small linear classifier as ONNX: 64 numbers in, a label and ten scores out."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(64, 10)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["input", "weights"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        ],
        "linear",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [None, 64])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 10]),
        ],
        [helper.make_tensor("weights", TensorProto.FLOAT, weights.shape, weights.tobytes(), True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    found: bytes = model.SerializeToString()
    return found


@dataclass
class Served:
    """A deployment that answers, one kept-alive connection to it, and the bare session."""

    http: httpx.Client
    path: str
    body: bytes
    session: Any
    array: Any

    def predict(self) -> None:
        """Predict one row through the public address."""
        answer = self.http.post(self.path, content=self.body)
        if answer.status_code != 200:
            raise RuntimeError(answer.text)
        json.loads(answer.content)

    def bare(self) -> None:
        """Predict the same row without any server."""
        self.session.run(None, {"input": self.array})


@contextlib.contextmanager
def served_model(hub: Hub) -> Iterator[Served]:
    """Deploy the small model and yield how to ask it; the deployment is deleted afterwards."""
    project = hub.projects.ensure("bench")
    dataset = hub.datasets.ensure("bench-model", project=project.id)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "model.onnx").write_bytes(model_bytes())
        version = hub.datasets.upload(dataset.id, folder)
    model = hub.models.ensure("bench-model", project=project.id)
    model = hub.models.add_version(model.id, version.id, format="ONNX")
    spec = {"name": "bench-model", "model": model.id, "instance_type": "C3"}
    deployment = hub.deployments.wait(hub.deployments.apply(project.id, spec).id)
    if deployment.state != "Running":
        raise RuntimeError(f"{deployment.state}: {deployment.message}")
    key = hub.deployments.create_key(deployment.id, "bench").key
    base = httpx.URL(deployment.endpoint)
    array = np.array([INPUT], dtype=np.float32)
    tensor = {"name": "input", "shape": [1, 64], "datatype": "FP32", "data": INPUT}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model_bytes(), options)
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with httpx.Client(headers=headers, trust_env=False) as http:
        yield Served(
            http, f"{base}/v2/models/{deployment.model_name}/infer",
            json.dumps({"inputs": [tensor]}).encode(), session, array,
        )  # fmt: skip
    hub.deployments.delete(deployment.id)
