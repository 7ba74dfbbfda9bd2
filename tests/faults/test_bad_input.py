"""Bad input over REST: a clear 4xx with the place and the way out, and nothing half-made left."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from nablahub.core.errors import QuotaExceeded
from nablahub.jobs.runners.process.shutdown import end_all
from tests.support.service import RunningService, running

QUOTA = 3 * 1024**2
HEADERS = {"Authorization": "Bearer token-of-alice"}
LISTS = ("projects", "datasets", "models", "jobs", "workflows", "runs", "deployments")

SCRIPT = "uses: script@v1, with: {script: 'true', image: 'bash:5'}"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    root = tmp_path_factory.mktemp("state")
    with running(root, dataset_quota_bytes=QUOTA) as found:
        yield found
    end_all(found.state, 30)


@pytest.fixture(scope="module")
def project(service: RunningService) -> str:
    return str(service.hub().projects.create("faults").id)


def everything(service: RunningService) -> dict[str, Any]:
    """Return all that alice has, and all object files."""
    hub = service.transport()
    found: dict[str, Any] = {name: list(hub.pages(f"/{name}")) for name in LISTS}
    objects = service.state.objects
    found["files"] = sorted(str(p) for p in objects.rglob("*") if p.is_file())
    return found


def workflow(project: str, spec: Any) -> tuple[str, Any]:
    return "/workflows", {"project": project, "name": "bad", "spec": spec}


CYCLE = f"""jobs:
  a: {{{SCRIPT}, needs: [c]}}
  b: {{{SCRIPT}, needs: [a]}}
  c: {{{SCRIPT}, needs: [b]}}
"""

#: name → (spec, what one of the faults must say, its line)
SPECS = {
    "malformed YAML": ("jobs:\n  a: [1, 2\n  b: 3\n", "", 3),
    "a cycle": (CYCLE, "wait for each other: a → c → b → a", 2),
    "an unknown action": ("jobs:\n  a:\n    uses: scritp@v1\n", "script@v1", 3),
    "an unknown need": (f"jobs:\n  a: {{{SCRIPT}, needs: [B]}}\n", "B", 2),
    "an unknown key": (f"jobs:\n  a: {{{SCRIPT}, nedes: []}}\n", "needs", 2),
    "a missing argument": ("jobs:\n  a: {uses: script@v1}\n", "script", 2),
    "no jobs": ("on: push\n", "jobs", None),
}  # fmt: skip


#: What is wrong on this machine only: the workflow is kept, with a warning, its run is refused.
HERE = {
    "an unknown environment": (
        "jobs:\n  a:\n    uses: script@v1\n    with:\n      script: 'true'\n"
        "      image: nobody/knows:1\n", "nobody/knows:1", 6,
    ),
    "an instance too big": (
        f"jobs:\n  a:\n    {SCRIPT.partition(', ')[0]}\n    with: {{script: 'true'}}\n"
        "    resources: {instance-type: A100x8}\n", "A100", 5,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SPECS)
def test_a_bad_spec_names_its_line(service: RunningService, project: str, name: str) -> None:
    spec, word, line = SPECS[name]
    before = everything(service)
    path, body = workflow(project, spec)
    answer = httpx.post(f"{service.url}/api/v1{path}", json=body, headers=HEADERS)
    assert answer.status_code in (400, 422), answer.text
    faults = answer.json()["errors"]
    told = [f for f in faults if word in json.dumps(f, ensure_ascii=False)]
    assert told, faults
    if line is not None:
        assert line in [f.get("line") for f in told], faults
        assert all(f.get("column") for f in told), faults
    assert any(f.get("hint") for f in faults) or answer.json().get("hint"), faults
    assert everything(service) == before


@pytest.mark.parametrize("name", HERE)
def test_what_this_machine_lacks_is_refused_when_the_run_is_submitted(
    service: RunningService, project: str, name: str
) -> None:
    spec, word, line = HERE[name]
    made = service.hub().workflows.create(project, spec, name=name)
    before = everything(service)
    answer = httpx.post(
        f"{service.url}/api/v1/workflows/{made.id}/runs", json={"inputs": {}}, headers=HEADERS
    )
    assert answer.status_code == 422, answer.text
    (fault,) = answer.json()["errors"]
    assert word in fault["message"]
    assert (fault["line"], bool(fault["column"]), bool(fault["hint"])) == (line, True, True)
    assert everything(service) == before


def test_a_missing_input_is_named(service: RunningService, project: str) -> None:
    spec = (
        "inputs:\n  data: {type: dataset}\n  text: {type: string}\n"
        f"jobs:\n  a: {{{SCRIPT}, inputs: {{data: workflow.inputs.data}}}}\n"
    )
    made = service.hub().workflows.create(project, spec, name="needs-input")
    before = everything(service)
    answer = httpx.post(
        f"{service.url}/api/v1/workflows/{made.id}/runs", json={"inputs": {}}, headers=HEADERS
    )
    assert answer.status_code == 422
    pointers = [fault["pointer"] for fault in answer.json()["errors"]]
    assert pointers == ["/inputs/data", "/inputs/text"]
    missing = httpx.post(
        f"{service.url}/api/v1/workflows/{made.id}/runs", headers=HEADERS,
        json={"inputs": {"data": {"ref": "no-such-dataset"}, "text": {"value": "x"}}},
    )  # fmt: skip
    assert missing.status_code in (404, 422)
    assert "no-such-dataset" in missing.text
    assert everything(service) == before


#: name → (path, body with {project}, pointer of one fault)
BODIES: dict[str, tuple[str, dict[str, Any], str]] = {
    "a project of a number": ("/projects", {"name": 7}, "/name"),
    "a dataset with a slash": ("/datasets", {"name": "a/b", "project": "P"}, "/name"),
    "a dataset with dots": ("/datasets", {"name": "..", "project": "P"}, "/name"),
    "a model with a slash": ("/models", {"name": "a/b", "project": "P"}, "/name"),
    "a workflow with a slash": (
        "/workflows", {"name": "a/b", "project": "P", "spec": f"jobs: {{a: {{{SCRIPT}}}}}"},
        "/name",
    ),
    "a job without a command": ("/jobs", {"project": "P", "command": []}, "/command"),
    "a job of text": ("/jobs", {"project": "P", "command": "true"}, "/command"),
    "a job in an unknown environment": (
        "/jobs", {"project": "P", "command": ["true"], "environment": "nobody"}, "/environment",
    ),
    "a job on an unknown instance": (
        "/jobs", {"project": "P", "command": ["true"], "instance_type": "X9"}, "/instance_type",
    ),
    "a job on an instance too big": (
        "/jobs", {"project": "P", "command": ["true"], "instance_type": "A100x8"},
        "/instance_type",
    ),
    "a job with a missing dataset": (
        "/jobs",
        {"project": "P", "command": ["true"],
         "inputs": [{"name": "x", "kind": "dataset", "ref": "nothing"}]},
        "/inputs/0",
    ),
    "a deployment of nothing": (
        "/deployments", {"project_id": "P", "spec": {"name": "x", "model": "nothing"}}, "",
    ),
    "a deployment with a slash": (
        "/deployments", {"project_id": "P", "spec": {"name": "a/b", "model": "m"}}, "",
    ),
    "a deployment of -1 replicas": (
        "/deployments", {"project_id": "P", "spec": {"name": "x", "model": "m", "replicas": -1}},
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
def test_a_bad_body_names_its_field(service: RunningService, project: str, name: str) -> None:
    path, body, pointer = BODIES[name]
    body = {k: project if v == "P" else v for k, v in body.items()}
    before = everything(service)
    answer = httpx.post(f"{service.url}/api/v1{path}", json=body, headers=HEADERS)
    assert 400 <= answer.status_code < 500, answer.text
    problem = answer.json()
    pointers = [fault.get("pointer", "") for fault in problem.get("errors", [])]
    assert not pointer or any(p.startswith(pointer) for p in pointers), problem
    assert problem["detail"]
    words = [problem.get("hint"), *(f.get("hint") for f in problem.get("errors", []))]
    assert any(words) or pointers, problem
    assert everything(service) == before


def test_an_upload_past_the_quota_is_refused_whole(
    service: RunningService, project: str, tmp_path: Path
) -> None:
    hub = service.hub()
    dataset = hub.datasets.create("too-big", project=project)
    (tmp_path / "small.txt").write_text("small")
    (tmp_path / "big.bin").write_bytes(os.urandom(QUOTA + 1))
    before = everything(service)
    with pytest.raises(QuotaExceeded) as caught:
        hub.datasets.upload(dataset.id, tmp_path)
    assert "3" in caught.value.detail
    assert caught.value.hint
    assert everything(service) == before
    (tmp_path / "big.bin").unlink()
    version = hub.datasets.upload(dataset.id, tmp_path)
    assert hub.datasets.read(version.id, "small.txt") == b"small"


@pytest.mark.parametrize(
    "method_path",
    [
        "GET /jobs/../../health", "GET /datasets/..%2f..%2fetc", "GET /datasets/%00",
        "GET /projects/%F0%9F%92%A9", "GET /projects/" + "x" * 3000,
        "GET /workflows/' OR 1=1 --/runs", "GET /workflows/x/runs/-1", "GET /workflows/x/runs/1e9",
        "GET /models/mo/versions/latest/files/../../x", "DELETE /deployments/not-a-uuid",
    ],
)  # fmt: skip
def test_hostile_ids_are_not_found(service: RunningService, method_path: str) -> None:
    method, _, path = method_path.partition(" ")
    answer = httpx.request(method, f"{service.url}/api/v1{path}", headers=HEADERS)
    assert answer.status_code in (400, 404, 405, 422), (answer.status_code, answer.text)
    assert "Traceback" not in answer.text
