"""What a team keeps in ``/storage`` is the same for its notebooks and its jobs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nablahub.core import kubenames
from nablahub.core.errors import NotFound
from nablahub.jobs.api import JobsAPI
from nablahub.jobs.types import Input, JobSpec
from nablahub_hub.local.config import free_ports
from tests.cluster.hubs import address_for_pods, kube_hub
from tests.cluster.target import Cluster
from tests.support.hub import RunningHub
from tests.support.kernel import code
from tests.support.waiting import until

TYPES: dict[str, object] = {"tiny": {"cpus": 1, "memory_gib": 0.75}}
MORE = 'c.JupyterHub.load_groups = {"Blue Team": {"users": ["bob"]}}'
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
    with kube_hub(cluster, tmp_path_factory.mktemp("hub"), TYPES, MORE, first) as running:
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


MOUNT = """
import errno, os, nablahub
hub = nablahub.connect()
for ref in {refs!r}:
    made = hub.mounts.mount(ref)
    print(made.path, open(made.path + "/word").read())
for path in (made.path + "/x", "/datasets/x"):
    try:
        open(path, "w")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""


def test_a_notebook_sees_and_mounts_versions_of_its_teams(hub: RunningHub, tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "word").write_text("of a dataset")
    bob = hub.client("bob")
    project = bob.projects.create("reading").id
    bob.datasets.create("words", project=project)
    version = bob.datasets.upload("words", tmp_path / "given")
    server = hub.spawn("bob", instance_type="tiny")  # it was there before
    jobs = JobsAPI(hub.transport("bob"))
    read = Input(name="d", kind="dataset", ref=version.id)
    job = jobs.submit(
        JobSpec(project_id=project, command=["cat", "/inputs/d/word"], instance_type="tiny",
                inputs=[read])
    )  # fmt: skip
    done = jobs.wait(job.id)
    assert (done.state, jobs.log(job.id)) == ("Succeeded", "of a dataset"), done.message
    place = f"/datasets/@cached/bob/words/{version.version}"
    seen = server.shell(f"cat {place}/word; echo; touch {place}/x 2>&1; ls /datasets/@cached")
    assert seen.splitlines()[0] == "of a dataset"
    assert seen.count("Read-only file system") == 1
    assert seen.split()[-2:] == [kubenames.folder("Blue Team"), "bob"]
    # How full its claims are is known to the servers that have them, and told.
    claims = until(
        lambda: {u.kind: u for u in bob.storage.usage() if u.measured_at}, "it is told", pause=0.2
    )
    assert set(claims) <= {"home", "storage"}
    assert all(claim.quota_bytes and claim.bytes < claim.quota_bytes for claim in claims.values())
    # What is cached is mounted at once; what is not, be it of a group's, after it was fetched.
    before = [job.id for job in jobs.list()]
    printed = code(server, MOUNT.format(refs=["words"])).splitlines()
    assert printed == ["/datasets/words of a dataset", "EROFS", "EROFS"]
    team = next(t for t in hub.transport("bob").pages("/teams") if t["name"] == "Blue Team")
    ours = hub.transport("bob").post("/projects", {"name": "ours", "team": team["id"]})["id"]
    bob.datasets.create("shared", project=ours)
    (tmp_path / "given" / "word").write_text("of a group")
    bob.datasets.upload("shared", tmp_path / "given")
    newer = bob.datasets.upload("words", tmp_path / "given")
    printed = code(server, MOUNT.format(refs=["shared", newer.id, "words"])).splitlines()
    assert printed[:3] == [
        "/datasets/shared of a group",
        f"/datasets/words@{newer.version} of a group",
        "/datasets/words of a group",
    ]
    assert [job.id for job in jobs.list()] == before  # those that fetched are gone
    # Nobody sees those of others.
    carol = hub.spawn("carol", instance_type="tiny")
    mounted = bob.mounts.mount("words", server="elsewhere")
    seen = carol.shell(f"ls -A /datasets/@cached; ls /opt/nablahub/cache/{mounted.place} 2>&1")
    assert seen.split()[0] == "carol"
    assert "No such file" in seen
    # A new pod shows what the old one did.
    server.stop()
    server = hub.spawn("bob", instance_type="tiny")
    wait = "for _ in $(seq 900); do [ -e /datasets/words/word ] && break; sleep 0.1; done; "
    assert server.shell(f"{wait} cat /datasets/words/word") == "of a group"


def show(hub: RunningHub, user: str, dataset: str, *, public: bool) -> None:
    """Let everybody read a user's dataset, or nobody else."""
    datasets = hub.client(user).datasets
    found = datasets.get(dataset)
    hub.transport(user).patch(f"/datasets/{found.id}", {"public": public}, revision=found.revision)


def test_what_is_public_comes_from_the_claim_until_it_is_not(
    hub: RunningHub, tmp_path: Path
) -> None:
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "word").write_text("for everybody")
    theirs = hub.client("alice").datasets
    for name in ("open", "other"):
        theirs.create(name)
        theirs.upload(name, tmp_path / "given")
        show(hub, "alice", name, public=True)
    carol, jobs = hub.client("carol"), JobsAPI(hub.transport("carol"))
    project = carol.projects.create("reading").id

    def read(ref: str) -> tuple[str, str]:
        spec = JobSpec(
            project_id=project, command=["cat", "/inputs/d/word"], instance_type="tiny",
            inputs=[Input(name="d", kind="dataset", ref=ref)],
        )  # fmt: skip
        done = jobs.wait(jobs.submit(spec).id)
        return done.state, done.message or jobs.log(done.id)

    assert read("alice/open") == ("Succeeded", "for everybody")
    server = hub.spawn("carol", instance_type="tiny")
    printed = code(server, MOUNT.format(refs=["alice/open"])).splitlines()
    assert printed == ["/datasets/open for everybody", "EROFS", "EROFS"]
    (mounted,) = carol.mounts.list()
    place = f"/opt/nablahub/cache/{mounted.place}"
    assert mounted.place.startswith("public/")
    assert server.shell(f"cat {place}/word") == "for everybody"
    # Another team's server sees the very tree, and what is in alice's own folder stays hers.
    bob = hub.spawn("bob", instance_type="tiny")
    assert bob.shell(f"cat {place}/word") == "for everybody"
    assert "alice" not in bob.shell("ls -A /opt/nablahub/cache /datasets/@cached").split()
    # Once it is private nobody may mount it, and the next pod that fetches takes it away.
    show(hub, "alice", "open", public=False)
    with pytest.raises(NotFound):
        carol.mounts.mount("alice/open")
    with pytest.raises(NotFound):
        read("alice/open")
    assert read("alice/other") == ("Succeeded", "for everybody")
    for each in (server, bob):
        assert "No such file" in each.shell(f"cat {place}/word 2>&1")
        each.stop()
