"""What one user owns: one real thing of each kind, to be tried by another user."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from nablahub.client import Hub
from nablahub.datasets.packs import PackBuilder, pack_name
from nablahub.jobs.types import JobSpec

SPEC = """
jobs:
  say:
    uses: script@v1
    with:
      image: bash:5
      script: echo hello
"""
FILES = {"notes.txt": "for the run"}


@dataclass
class World:
    """Ids of what one user made."""

    hub: Hub
    folder: Path
    project: str
    dataset: str
    version: str
    md5: str
    model: str
    model_version: str
    job: str
    workflow: str
    run: int
    deployment: str
    key: str
    provider: str
    bucketed: str
    bucket: dict[str, Any]

    def ids(self) -> set[str]:
        """Return all ids that must not be seen by another."""
        return {
            self.project, self.dataset, self.model, self.job, self.workflow, self.deployment,
            self.key, self.provider, self.bucketed,
        }  # fmt: skip

    def new_project(self) -> str:
        """Make one more project."""
        return str(self.hub.projects.create(f"p-{uuid4()}").id)

    def new_job(self) -> str:
        """Run one more job to its end."""
        return str(self.hub.jobs.wait(self.hub.jobs.submit(quick_job(self.project)).id).id)

    def new_dataset(self) -> str:
        """Make one more dataset."""
        return str(self.hub.datasets.create(f"d-{uuid4()}", project=self.project).id)

    def new_model(self) -> str:
        """Make one more model."""
        return str(self.hub.models.create(f"m-{uuid4()}", project=self.project).id)

    def new_workflow(self) -> str:
        """Make one more workflow."""
        made = self.hub.workflows.create(self.project, SPEC, name=f"w-{uuid4()}")
        return str(made.id)

    def new_deployment(self) -> str:
        """Make one more deployment, switched off."""
        made = self.hub.deployments.create(self.project, self.deployment_spec())
        return str(made.id)

    def deployment_spec(self) -> dict[str, Any]:
        """Return a spec that starts nothing."""
        return {"name": f"x-{uuid4()}", "model": self.model_version, "enabled": False}

    def new_upload(self, dataset: str = "") -> str:
        """Begin one more upload and return its id."""
        path = f"/datasets/{dataset or self.dataset}/uploads"
        return str(self.hub.transport.post(path, {"message": "x"})["version"])

    def new_provider(self) -> str:
        """Make one more storage provider."""
        return str(self.hub.storage.create(f"s-{uuid4()}", **self.bucket).id)

    def new_mount(self) -> str:
        """Mount a version in a server that is not there."""
        body = {"dataset": self.dataset, "server": "walked", "name": f"m-{uuid4()}"}
        return str(self.hub.transport.post("/mounts", body)["id"])

    def new_bucket_mount(self) -> str:
        """Mount a folder of a bucket, writable, in a server that is not there."""
        bucket = f"{self.new_provider()}/walked"
        body = {"bucket": bucket, "server": "walked", "name": f"m-{uuid4()}", "read_only": False}
        return str(self.hub.transport.post("/mounts", body)["id"])

    def new_key(self) -> str:
        """Make one more API key and return its id."""
        return str(self.hub.deployments.create_key(self.deployment, "more").id)


def quick_job(project: str) -> JobSpec:
    """Return a job that leaves a log and an artifact."""
    return JobSpec(
        project_id=project, environment="bash:5", instance_type="C3",
        command=["bash", "-c", "echo hello; echo kept > /artifacts/kept.txt"],
    )  # fmt: skip


def revision(hub: Hub, path: str) -> str:
    """Return the ETag of a thing."""
    return f'"{hub.transport.get(path)["revision"]}"'


def pack(data: bytes) -> tuple[str, bytes]:
    """Return name and bytes of a pack that holds one object."""
    builder = PackBuilder()
    md5, sha256 = hashlib.md5(data), hashlib.sha256(data)
    builder.add(md5.digest(), sha256.digest(), data)
    head, *bodies = builder.parts()
    return pack_name(head), b"".join([head, *bodies])


def build(hub: Hub, folder: Path, bucket: dict[str, Any]) -> World:
    """Make one thing of each kind for a user."""
    project = hub.projects.create("walk").id
    source = folder / "files"
    source.mkdir()
    (source / "a.txt").write_text("of one user alone")
    dataset = hub.datasets.create("walk", project=project)
    version = hub.datasets.upload(dataset.id, source)
    model = hub.models.create("walk", project=project)
    model_version = hub.models.add_version(model.id, version.id, format="Custom")
    (folder / "empty").mkdir()
    hub.jobs.workspace(project, folder / "empty")
    job = hub.jobs.wait(hub.jobs.submit(quick_job(project)).id)
    assert job.state == "Succeeded", job
    workflow = hub.workflows.create(project, SPEC, name="walk", files=FILES)
    run = hub.workflows.wait(hub.workflows.start(workflow.id))
    assert run.state == "Succeeded", run
    off = {"name": "walk", "model": model_version.id, "enabled": False}
    deployment = hub.deployments.create(project, off)
    key = hub.deployments.create_key(deployment.id, "walk")
    provider = hub.storage.create("walk", **bucket).id
    bucketed = hub.datasets.create("in a bucket", project=project, storage=provider).id
    return World(
        hub, folder, project, dataset.id, version.version,
        hashlib.md5(b"of one user alone").hexdigest(), model.id, model_version.id, job.id,
        workflow.id, run.number, deployment.id, key.id, provider, bucketed, bucket,
    )  # fmt: skip
