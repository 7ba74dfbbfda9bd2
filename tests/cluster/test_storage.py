"""What a team keeps in ``/storage`` is the same for its notebooks and its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub.jobs.api import JobsAPI
from nablahub.jobs.types import Input, JobSpec
from nablahub_hub.local.config import free_ports
from tests.cluster.hubs import address_for_pods, kube_hub
from tests.cluster.target import Cluster
from tests.support.hub import RunningHub

TYPES: dict[str, object] = {"tiny": {"cpus": 1, "memory_gib": 0.75}}
FIRST = """
c.NablaHub.runner = "kubernetes"
c.NablaHub.service_port = {port}
c.NablaHub.kubernetes = {{
    "kubeconfig": {kubeconfig!r}, "namespace": {namespace!r}, "hub": "lab",
    "image": {image!r}, "pull_policy": "Never", "cpu_request": 0.05,
    "cache_claim": "versions", "cache_size": "64Mi",
    "service_url": "http://{host}:{port}/services/nablahub",
}}
"""


@pytest.fixture(scope="module")
def hub(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningHub]:
    first = FIRST.format(
        port=free_ports(1)[0], kubeconfig=str(cluster.kubeconfig), namespace=cluster.namespace,
        image=cluster.image("runner"), host=address_for_pods(cluster),
    )  # fmt: skip
    with kube_hub(cluster, tmp_path_factory.mktemp("hub"), TYPES, first=first) as running:
        yield running


def test_a_job_reads_what_a_notebook_wrote_and_the_reverse(hub: RunningHub) -> None:
    server = hub.spawn("alice", instance_type="tiny")
    server.shell("mkdir -p /storage/deep; echo of a notebook > /storage/deep/word")
    project = hub.client("alice").projects.create("work").id
    jobs = JobsAPI(hub.transport("alice"))
    script = "cat /storage/deep/word; echo of a job > /storage/deep/answer"
    job = jobs.submit(
        JobSpec(project_id=project, command=["sh", "-c", script], instance_type="tiny")
    )
    done = jobs.wait(job.id)
    assert (done.state, jobs.log(job.id)) == ("Succeeded", "of a notebook\n"), done.message
    assert server.shell("cat /storage/deep/answer").strip() == "of a job"
    # Nobody else's: bob's own storage is another claim.
    assert hub.spawn("bob", instance_type="tiny").shell("ls -A /storage").strip() == ""
    server.stop()


def test_a_notebook_sees_the_versions_that_jobs_fetched(hub: RunningHub, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "word").write_text("of a dataset")
    project = hub.client("bob").projects.create("reading").id
    hub.client("bob").datasets.create("words", project=project)
    version = hub.client("bob").datasets.upload("words", tmp_path / "given")
    server = hub.spawn("bob", instance_type="tiny")  # it was there before
    jobs = JobsAPI(hub.transport("bob"))
    read = Input(name="d", kind="dataset", ref=version.id)
    job = jobs.submit(
        JobSpec(project_id=project, command=["cat", "/inputs/d/word"], instance_type="tiny",
                inputs=[read])
    )  # fmt: skip
    done = jobs.wait(job.id)
    assert (done.state, jobs.log(job.id)) == ("Succeeded", "of a dataset"), done.message
    place = f"/datasets/words/{version.version}"
    seen = server.shell(f"cat {place}/word; echo; touch {place}/x /datasets/x 2>&1; ls /datasets")
    assert seen.splitlines()[0] == "of a dataset"
    assert seen.count("Read-only file system") == 2
    assert seen.split()[-1] == "words"
    # Nobody sees those of others.
    assert hub.spawn("carol", instance_type="tiny").shell("ls -A /datasets").strip() == ""
