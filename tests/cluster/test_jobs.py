"""Jobs of the real service on the real cluster: data comes in, data goes out."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from nablahub.core.environments import UnknownEnvironment
from nablahub.core.extension import discover
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.runners.kubernetes.api import Api
from nablahub.jobs.runners.kubernetes.names import selector
from nablahub.jobs.types import Job, JobSpec
from tests.cluster.helper import own_address
from tests.cluster.target import Cluster
from tests.support.service import RunningService

BELOW = ("teams", "projects", "storage", "datasets", "models", "jobs")
EXTENSIONS = [extension for extension in discover() if extension.name in BELOW]

KINDS = ("Job", "Secret")


class Life:
    """One state folder over several lives of a service whose jobs are pods."""

    def __init__(self, root: Path, cluster: Cluster) -> None:
        self.root = root
        self.cluster = cluster
        given = YAML(typ="safe").load(cluster.kubeconfig)
        self.host = own_address(given["clusters"][0]["cluster"]["server"])
        self.hub_label = f"h{secrets.token_hex(5)}"
        self.port = 0
        self.begin()
        self.project = self.service.hub().projects.create("work").id

    def begin(self) -> None:
        """Start the service, on the same port each time."""
        self.service = RunningService(
            self.root, EXTENSIONS, runner="kubernetes", service_host=self.host,
            service_port=self.port,
            kubernetes={
                "kubeconfig": self.cluster.kubeconfig, "namespace": self.cluster.namespace,
                "hub": self.hub_label, "image": self.cluster.image("runner"),
                "pull_policy": "Never", "storage_size": "64Mi", "cpu_request": 0.1,
                "stuck_seconds": 30,
                "images": {"nowhere": "localhost/nonsuch:1", "broken": "localhost/NOT valid"},
            },
        ).start()  # fmt: skip
        self.port = self.service.port

    def submit(self, script: str, **fields: object) -> Job:
        """Submit a script of sh."""
        spec = {"project_id": self.project, "command": ["sh", "-c", script],
                "instance_type": "C3", **fields}  # fmt: skip
        return self.jobs.submit(JobSpec.model_validate(spec))

    @property
    def jobs(self) -> JobsAPI:
        """The client's part for jobs."""
        return JobsAPI(self.service.transport())

    def shell(self, script: str, **fields: object) -> Job:
        """Submit a script of sh and wait for its end."""
        return self.jobs.wait(self.submit(script, **fields).id)

    def objects(self) -> list[str]:
        """Names of the Jobs and Secrets that the cluster still has of this hub."""

        async def ask() -> list[str]:
            api = Api(self.service.settings.kubernetes)
            await api.connect()
            try:
                found = [await api.list(kind, selector(self.hub_label)) for kind in KINDS]
            finally:
                await api.close()
            return [each["metadata"]["name"] for items, _ in found for each in items]

        return asyncio.run(ask())


@pytest.fixture
def life(tmp_path: Path, cluster: Cluster) -> Iterator[Life]:
    made = Life(tmp_path / "state", cluster)
    yield made
    made.service.stop()


def test_a_version_comes_in_and_a_version_goes_out(life: Life, tmp_path: Path) -> None:
    (tmp_path / "given" / "deep").mkdir(parents=True)
    (tmp_path / "given" / "deep" / "word").write_text("from a dataset")
    hub = life.service.hub()
    hub.datasets.create("given", project=life.project)
    version = hub.datasets.upload("given", tmp_path / "given")
    job = life.shell(
        "cat /inputs/d/deep/word; touch /inputs/d/x 2>/dev/null; cp -r /inputs/d/deep "
        "/outputs/made; printf said > /outputs/word; echo 1 > /artifacts/a; echo 1 > /storage/s; "
        "python -c 'import numpy; print(numpy.ones(2).sum())'",
        inputs=[{"name": "d", "kind": "dataset", "ref": version.id}],
        outputs=[
            {"name": "made", "kind": "dataset", "ref": "made"},
            {"name": "word", "kind": "string"},
        ],
    )
    log = life.jobs.log(job.id)
    assert (job.state, log) == ("Succeeded", "from a dataset2.0\n"), job.message
    assert job.outputs["word"].value == "said"
    made = job.outputs["made"].ref
    assert made is not None
    assert hub.datasets.read(made, "deep/word") == b"from a dataset"
    assert [a.path for a in life.jobs.artifacts(job.id)] == ["a"]
    again = life.shell("cat /storage/s")
    assert life.jobs.log(again.id) == "1\n"


def test_what_ended_leaves_nothing_in_the_cluster(life: Life) -> None:
    life.shell("exit 3")
    running = life.submit("echo one; sleep 600")
    life.service.stop()
    life.begin()
    life.jobs.cancel(running.id)
    assert life.jobs.wait(running.id).state == "Canceled"
    for _ in range(2):  # Whatever the first life had no time for, the second one's sweep does.
        life.service.stop()
        life.begin()
    life.service.stop()
    assert life.objects() == []
    life.begin()


@pytest.mark.parametrize("environment", ["nowhere", "broken"])
def test_an_image_that_is_not_there_is_told(life: Life, environment: str) -> None:
    job = life.shell("true", environment=environment)
    assert (job.state, job.reason) == ("Error", "start")
    assert "The" in job.message
    assert "image" in job.message


def test_an_unknown_environment_is_refused(life: Life) -> None:
    with pytest.raises(UnknownEnvironment, match="nonsuch"):
        life.submit("true", environment="nonsuch")
