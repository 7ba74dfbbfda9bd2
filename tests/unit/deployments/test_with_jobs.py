"""A deployment over the real slices below it: the model from a dataset, the server in a job's
sandbox, the traffic through Traefik."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest

from nablahub.client import Hub
from nablahub.core.environments import Environments
from nablahub.core.errors import Conflict
from nablahub.core.extension import discover
from nablahub.core.state import StateDir
from nablahub.deployments.types import Deployment
from nablahub.jobs.runners.process.shutdown import end_all
from tests.support import waiting
from tests.support.service import RunningService
from tests.unit.deployments.local import traefik
from tests.unit.serving import graphs

BELOW = ("teams", "projects", "storage", "datasets", "models", "jobs", "deployments")
EXTENSIONS = [extension for extension in discover() if extension.name in BELOW]
ROW = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 2.0, 3.0, 4.0]}


@pytest.fixture(scope="module")
def environments() -> Path:
    """The folder of environments, `serving` built in it."""
    built = Path(__file__).parents[3] / ".build" / "environments"
    folder = Path(os.environ.get("NABLAHUB_ENVIRONMENTS_DIR", built))
    Environments(folder).ensure("serving")
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A state folder whose jobs are ended afterwards."""
    folder = tmp_path / "state of it"
    yield folder
    end_all(StateDir(folder))


@pytest.fixture
def public_url(root: Path, tmp_path: Path) -> Iterator[str]:
    """Traefik before the service."""
    with traefik(root / "traefik" / "dynamic", tmp_path) as url:
        yield url


def start(root: Path, environments: Path, public_url: str) -> RunningService:
    """Start the service."""
    return RunningService(
        root, EXTENSIONS, environments_dir=environments, public_url=public_url
    ).start()


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own."""
    waiting.until(holds, "what is waited for", pause=0.05)


def deploy(hub: Hub, folder: Path) -> Deployment:
    """Commit a model's file, make a model of it, deploy that."""
    folder.mkdir()
    graphs.classifier(folder / "model.onnx")
    project = hub.projects.create("flowers").id
    hub.datasets.create("iris-model", project=project)
    version = hub.datasets.upload("iris-model", folder)
    hub.models.create("iris", project=project)
    hub.models.add_version("iris", version.ref, format="ONNX")
    made = hub.deployments.create(project, "name: iris\nmodel: iris\n")
    found: Deployment = hub.deployments.wait(made.id, seconds=120)
    assert found.state == "Running", found.message
    return found


def test_from_a_dataset_to_a_prediction_and_through_all_troubles(
    root: Path, environments: Path, public_url: str, tmp_path: Path
) -> None:
    service = start(root, environments, public_url)
    hub = service.hub()
    found = deploy(hub, tmp_path / "model")
    key = hub.deployments.create_key(found.id, "test").key

    def ask() -> httpx.Response:
        url = f"{found.endpoint}/v2/models/iris/infer"
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.post(url, json={"inputs": [ROW]}, headers=headers, trust_env=False)

    until(lambda: ask().status_code == 200)
    session = onnxruntime.InferenceSession(hub.models.read("iris", "model.onnx"))
    (wanted,) = session.run(["probabilities"], {"X": np.array([ROW["data"]], np.float32)})
    got = np.array(ask().json()["outputs"][1]["data"], np.float32)
    assert got.tobytes() == wanted.tobytes()
    with pytest.raises(Conflict, match="deployment iris"):
        hub.models.delete("iris")

    # The service ends and comes back: the same server goes on answering.
    service.stop()
    assert ask().status_code == 200
    service = start(root, environments, public_url)
    hub = service.hub()
    assert hub.deployments.wait(found.id).state == "Running"
    assert len(list(hub.jobs.list())) == 1

    # Its server is killed: another one takes its place.
    (job,) = hub.jobs.list()
    os.kill(server_pid(job.id), signal.SIGKILL)
    until(lambda: hub.deployments.get(found.id).state == "Pending")
    until(lambda: hub.deployments.get(found.id).state == "Running")
    assert ask().status_code == 200
    assert hub.jobs.get(job.id).state == "Failed"

    # Everything is shut down and comes up again.
    service.stop()
    end_all(StateDir(root))
    service = start(root, environments, public_url)
    hub = service.hub()
    assert hub.deployments.wait(found.id, seconds=60).state == "Running"
    assert ask().status_code == 200

    hub.deployments.delete(found.id)
    until(lambda: all(job.state != "Running" for job in hub.jobs.list()))
    service.stop()


def server_pid(job_id: str) -> int:
    """Return the process of the model server itself, inside its sandbox."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            mine = f"NABLAHUB_JOB={job_id}".encode() in (folder / "environ").read_bytes()
        except OSError:
            continue
        if mine and words[1:3] == [b"-m", b"nablahub.serving"]:
            found.append(int(folder.name))
    (pid,) = found
    return pid
