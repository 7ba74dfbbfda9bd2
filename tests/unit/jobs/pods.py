"""A pod's part of a job, against the real service and a real S3.

The job is stored and never started, and its pod's token is the real one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from nablahub.core.extension import discover
from nablahub.core.times import now
from nablahub.core.transport import Transport
from nablahub.jobs import tokens
from nablahub.jobs.pod_mounts import PodMounts
from nablahub.jobs.runners.kubernetes.inside.buckets import bring, stage
from nablahub.jobs.runners.receiving import Receiving
from nablahub.jobs.service import JobService
from nablahub.jobs.store import JobRow
from nablahub.jobs.types import JobSpec
from nablahub.projects.api import ProjectsAPI
from nablahub.storage.api import StorageAPI
from nablahub.storage.service import StorageService
from tests.support.buckets import WithBucket
from tests.support.s3 import SeaweedFS
from tests.support.service import RunningService

BELOW = ("teams", "projects", "storage", "datasets", "models", "jobs")
EXTENSIONS = [extension for extension in discover() if extension.name in BELOW]
JOB = "jpod"


class Pod(WithBucket):
    """A bucket of alice's as `ours`, a job of hers that mounts it, and its pod's own folder."""

    def __init__(self, root: Path, s3: SeaweedFS) -> None:
        self.s3, self.root = s3, root / "buckets"
        self.root.mkdir()
        self.said: list[str] = []
        self.state = root / "state"
        self.service = RunningService(self.state, EXTENSIONS, allow_private_addresses=True).start()
        self.transport = self.service.transport()
        self.project = ProjectsAPI(self.transport).create("work").id
        self.bucket = s3.bucket()
        self.storage = StorageAPI(self.transport)
        self.provide(self.storage)
        context = self.service.service.context
        self.jobs = context.get(JobService)
        self.receiving = Receiving(self.service.state.jobs)
        self.pods = PodMounts(context.get(StorageService), self.service.state.jobs, self.receiving)
        self.jobs.mounts = self.pods
        self.jobs.ground = replace(self.jobs.ground, receiving=self.receiving)

    def mount(self, *mounts: tuple[str, str, bool]) -> None:
        """Store the job, as its submission does: name, folder, whether it is read-only."""
        provider = self.storage.get("ours").id
        inputs = [
            {"name": name, "kind": "bucket", "ref": f"{provider}/{folder}", "read_only": read_only}
            for name, folder, read_only in mounts
        ]
        spec = JobSpec.model_validate(
            {"project_id": self.project, "command": ["true"], "inputs": inputs}
        )
        team, at = self.transport.get("/whoami")["team_ids"][0], now()
        row = JobRow(
            id=JOB, name_key=None, team_id=team, project_id=self.project, owner_kind=None,
            owner_id=None, name="pod", kind="task", spec=spec.model_dump(mode="json"),
            wanted="run", wanted_message="", state="Provisioned", reason=None, message="",
            boot=None, exit_code=None, ready=False, address=None, outputs={},
            created_by="alice", created_at=at, updated_at=at, started_at=None,
            finished_at=None, revision=1, workspace_id=None,
        )  # fmt: skip
        given = tokens.new(delivered=True)

        def store(session: Any) -> None:
            session.add(row)
            session.flush()
            tokens.issue(session, row, given)

        self.service.service.context.database.write_sync(store)
        (self.service.state.jobs / JOB).mkdir(parents=True, exist_ok=True)
        self.token = given.delivery
        self.hub = Transport(self.service.url, given.delivery)
        self.task: dict[str, Any] = {
            "path": f"/api/v1/jobs/{JOB}/task",
            "service": {"url": self.service.url, "token": given.delivery},
            "nodes": 1,
            "scratch": None,
            "buckets": [
                {"mount": f"inputs.{name}", "at": str(number), "read_only": read_only}
                for number, (name, _, read_only) in enumerate(mounts)
            ],
        }

    def stage(self) -> Path:
        """Copy, and return what the command would see of the first mount."""
        stage(self.hub, self.task, self.root, self.said.append)
        return self.root / "0" / "data"

    def bring(self) -> dict[str, Any]:
        return bring(self.hub, self.task, self.root, self.said.append)

    def lost(self) -> str | None:
        return self.pods._lost(JOB)
