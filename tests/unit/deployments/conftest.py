"""A service with a real Traefik before it and real model servers behind it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from nablahub.client import Hub
from nablahub.deployments.types import Deployment
from tests.support.service import RunningService
from tests.unit.deployments.local import World, serving, traefik
from tests.unit.serving import graphs


@dataclass
class Stage:
    """What a test of rollouts acts on."""

    world: World
    url: str
    service: RunningService
    hub: Hub
    project_id: str

    def deploy(self, **fields: object) -> Deployment:
        """Deploy and wait for what comes of it."""
        made = self.hub.deployments.create(self.project_id, {"name": "iris", **fields})
        found: Deployment = self.hub.deployments.wait(made.id, seconds=60)
        return found

    def ask(self, deployment: Deployment, key: str) -> httpx.Response:
        """Ask for one prediction through the public address."""
        row = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
        with httpx.Client(trust_env=False, timeout=20) as client:
            return client.post(
                f"{deployment.endpoint}/v2/models/{deployment.model_name}/infer",
                json={"inputs": [row]},
                headers={"Authorization": f"Bearer {key}"},
            )


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two versions of a model, and one that can't be loaded."""
    made = World(tmp_path / "state")
    made.add_model("mo1:one", graphs.classifier(tmp_path / "one.onnx", seed=1))
    made.add_model("mo1:two", graphs.classifier(tmp_path / "two.onnx", seed=2))
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    made.add_model("mo2:bad", broken)
    yield made
    made.end()


@pytest.fixture
def public_url(world: World, tmp_path: Path) -> Iterator[str]:
    """A Traefik that reads the service's routes."""
    with traefik(world.root / "traefik" / "dynamic", tmp_path) as url:
        yield url


@pytest.fixture
def stage(world: World, public_url: str) -> Iterator[Stage]:
    """The running service, and a project in it."""
    with serving(world, public_url) as service:
        hub = service.hub()
        yield Stage(world, public_url, service, hub, hub.projects.create("p").id)
