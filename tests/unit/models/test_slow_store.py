"""A model is registered while its store does not answer: nobody else waits for that."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nablahub.models.errors import BadModelFiles
from tests.support.s3 import SeaweedFS
from tests.support.service import running
from tests.support.stores import own_store
from tests.unit.datasets.builders import write
from tests.unit.datasets.test_slow_store import Stalling, proxy

__all__ = ["proxy"]  # a fixture

SPEC = {
    "name": "register",
    "jobs": {
        "make": {
            "uses": "create-model@v1",
            "with": {"name": "made", "type": "Custom"},
            "inputs": {"files": {"type": "dataset", "with": {"ref": "slow"}}},
            "outputs": {"model": {"type": "string"}},
        },
        "refused": {
            "uses": "create-model@v1",
            "needs": ["make"],
            "with": {"name": "made", "type": "ONNX"},
            "inputs": {"files": {"type": "dataset", "with": {"ref": "slow"}}},
        },
    },
}


def test_registering_keeps_nobody_else_waiting(
    proxy: Stalling, s3: SeaweedFS, tmp_path: Path
) -> None:
    own = own_store(s3, tmp_path / "keys", endpoint=proxy.url)
    with running(tmp_path / "state", object_store=own, allow_private_addresses=True) as service:
        hub, bob = service.hub("alice"), service.hub("bob")
        project = hub.projects.create("work").id
        hub.datasets.create("slow")
        version = hub.datasets.upload("slow", write(tmp_path / "tree", {"a": b"1", "b/c": b"22"}))
        model = hub.models.create("asked", project=project)
        workflow = hub.workflows.create(project, SPEC)
        work = service.hub("alice").models
        proxy.stall()
        with ThreadPoolExecutor(1) as pool:
            added = pool.submit(work.add_version, model.id, "slow", format="Custom")
            run = hub.workflows.start(workflow.id)
            proxy.wait_for(2)
            # Another team, meanwhile: readers and the one writer are free, and so is preparing.
            mine = bob.projects.create("mine").id
            assert [found.id for found in bob.projects.list()] == [mine]
            assert bob.workflows.create(mine, SPEC).name == "register"
            assert hub.workflows.run(workflow.id, run.number).state == "Running"
            assert not added.done()
            # What `latest` meant is what was looked at.
            proxy.go()
            made = added.result()
        assert (made.dataset_version, made.files, made.bytes) == (version.id, 2, 3)
        ended = hub.workflows.wait(run)
        jobs = {job.name: job for job in ended.jobs}
        assert jobs["make"].state == "Succeeded", ended
        assert hub.models.version("made").files == 2
        assert (jobs["refused"].state, jobs["refused"].reason) == ("Error", "refused")
        assert "ONNX" in jobs["refused"].message
        with pytest.raises(BadModelFiles):
            work.add_version(model.id, "slow", format="ONNX")
