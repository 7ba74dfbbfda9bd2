"""The chart on PostgreSQL: several pods of which one acts, a hook that migrates, a way back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster import postgresql, stores
from tests.cluster.releases import NAME, Release, images, merged
from tests.cluster.stores import GET
from tests.cluster.target import Cluster
from tests.helm.charts import assemble
from tests.support.s3 import SeaweedFS
from tests.support.waiting import until

API = "/services/nablahub/api/v1"
PODS = ("-l", "app.kubernetes.io/component=service")


@pytest.fixture(scope="module")
def release(
    cluster: Cluster, s3: SeaweedFS, bucket: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("release")
    values = merged(images(cluster), postgresql.values(replicas=2), stores.values(s3, bucket))
    found = Release(cluster, assemble(folder), values, folder)
    try:
        postgresql.start(found)
        stores.give_keys(found)
        found.upgrade()
        yield found
    finally:
        found.remove()


def pods(release: Release) -> dict[str, str]:
    """Return the addresses of the service's pods, by their names."""
    items = json.loads(release.kubectl("get", "pod", *PODS, "-o", "json"))["items"]
    return {
        item["metadata"]["name"]: item["status"].get("podIP", "")
        for item in items if "deletionTimestamp" not in item["metadata"]
    }  # fmt: skip


def query(release: Release, statement: str) -> list[str]:
    """Return what the database says."""
    script = 'PGPASSWORD=$(cat "$PASSWORD_FILE") psql -h 127.0.0.1 -U nablahub postgres -Atc "$0"'
    where = ("exec", f"deployment/{postgresql.NAME}", "--", "sh", "-c")
    return release.kubectl(*where, script, statement).splitlines()


def leader(release: Release) -> str:
    """Return the name of the pod that leads; empty when none does."""
    found = query(
        release,
        "SELECT address FROM leader WHERE until > extract(epoch FROM clock_timestamp())",
    )
    return next((n for n, ip in pods(release).items() if found == [f"http://{ip}:8000"]), "")


def in_pod(release: Release, pod: str, code: str) -> str:
    """Run Python in a pod of the service."""
    return release.kubectl("exec", pod, "--", "python", "-c", code)


METRICS = """
import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9000/metrics").read().decode())
"""


def test_two_pods_answer_and_one_of_them_leads(release: Release) -> None:
    assert "/services/nablahub/api/openapi.json answers" in release.helm("test", NAME, "--logs")
    found = pods(release)
    assert len(found) == 2
    until(lambda: leader(release), "one leads")
    lead = {
        name: "nablahub_leader 1.0" in in_pod(release, name, METRICS).splitlines() for name in found
    }
    assert lead == {name: name == leader(release) for name in found}


def submit(release: Release, token: str, script: str) -> str:
    """Submit a job in a new project and return its id."""
    _, project = release.ask(f"{API}/projects", method="POST", token=token, body={"name": "pg"})
    spec = {
        "project_id": project["id"], "command": ["bash", "-c", script], "instance_type": "C3"
    }  # fmt: skip
    status, job = release.ask(f"{API}/jobs", method="POST", token=token, body=spec)
    assert status == 201, job
    return str(job["id"])


def test_a_job_outlives_the_pod_that_leads(release: Release) -> None:
    token = release.token_of("alice")
    job = submit(release, token, "echo begun; sleep 25; echo over; echo x > /artifacts/x")

    def look() -> dict[str, Any]:
        now: dict[str, Any] = release.ask(f"{API}/jobs/{job}", token=token)[1]
        return now

    until(lambda: look()["state"] == "Running", "the job runs", seconds=240)
    old = leader(release)
    release.kubectl("delete", "pod", old, "--grace-period=0", "--force")
    until(lambda: leader(release) not in ("", old), "another pod leads", seconds=60)
    ended = until(lambda: (now := look())["finished_at"] and now, "it ends", seconds=240)
    assert isinstance(ended, dict)
    assert (ended["state"], ended["exit_code"]) == ("Succeeded", 0), ended
    assert release.ask(f"{API}/jobs/{job}/logs", token=token)[1] == "begun\nover\n"


#: Small files, which go in packs, and one that goes in parts, each piece signed by a request.
MANY = """
import random
draw = random.Random(asked["seed"])
for number in range(200):
    (folder / f"{number}.bin").write_bytes(draw.randbytes(2000))
(folder / "whole.bin").write_bytes(draw.randbytes(48 << 20))
project = hub.projects.create(asked["name"]).id
hub.datasets.create(asked["name"], project=project)
version = hub.datasets.upload(asked["name"], folder)
print(json.dumps({"version": version.ref, "files": digests()}))
"""


def each(release: Release) -> dict[str, str]:
    """Return the service's pods by their names, each with its own address."""
    return {name: f"http://{ip}:8000" for name, ip in pods(release).items()}


def all_ready(release: Release) -> None:
    """Wait until both pods of the service are ready and one of them leads."""
    release.kubectl("rollout", "status", "deployment/nablahub-service", "--timeout=180s")
    until(lambda: len(each(release)) == 2 and leader(release), "two are there")


def test_a_version_of_one_pod_is_read_through_the_other(release: Release) -> None:
    token = release.token_of("carol")
    all_ready(release)
    (one, first), (other, second) = each(release).items()
    put = stores.client(release, token, MANY, pod=one, url=first, name="one", seed=1)
    assert len(put["files"]) == 201
    version = put["version"]
    assert (
        stores.client(release, token, GET, pod=other, url=second, version=version) == put["files"]
    )
    assert stores.client(release, token, GET, pod=one, url=first, version=version) == put["files"]


def test_a_commit_outlives_the_pod_that_leads(release: Release, s3: SeaweedFS, bucket: str) -> None:
    token = release.token_of("carol")
    all_ready(release)
    old = leader(release)
    (follower,) = set(pods(release)) - {old}
    before = len(s3.keys(bucket))
    with ThreadPoolExecutor(1) as aside:
        putting = aside.submit(
            stores.client, release, token, MANY, pod=follower, name="struck", seed=2
        )
        until(
            lambda: len(s3.keys(bucket)) > before or s3.multiparts(bucket) or putting.done(),
            "bytes arrive", pause=0.02,
        )  # fmt: skip
        assert not putting.done()
        release.kubectl("delete", "pod", old, "--grace-period=0", "--force")
        put = putting.result()
    until(lambda: leader(release) not in ("", old), "another pod leads", seconds=60)
    until(lambda: len(each(release)) == 2, "two are there", seconds=120)
    release.kubectl("rollout", "status", "deployment/nablahub-service", "--timeout=180s")
    for pod, url in each(release).items():
        found = stores.client(release, token, GET, pod=pod, url=url, version=put["version"])
        assert found == put["files"]
    listed = release.ask(f"{API}/datasets", token=token)[1]["items"]
    struck = next(item for item in listed if item["name"] == "struck")
    versions = release.ask(f"{API}/datasets/{struck['id']}/versions", token=token)[1]["items"]
    assert len(versions) == 1
    assert s3.multiparts(bucket) == set()


#: In a pod: what the next release's hook does, its migration being one more column.
NEXT = """
import sys
from dataclasses import replace
from pathlib import Path
from nablahub.core.extension import Extension, discover
from nablahub.core.migrate import migrate
from nablahub.core.settings import Settings
from nablahub.service.app import database_of
folder = Path("/tmp/next/next_release")
folder.mkdir(parents=True)
(folder / "__init__.py").touch()
(folder / "next_0001.py").write_text('''
import sqlalchemy as sa
from alembic import op
revision, down_revision, branch_labels = "next_0001", None, ("next",)
depends_on = ("projects_0001",)
def upgrade():
    op.add_column("projects", sa.Column("colour", sa.String(32), nullable=True))
''')
sys.path.insert(0, "/tmp/next")
settings = Settings.load(Path("/etc/nablahub/settings.json"))
database = database_of(settings)
print(migrate(database, [*discover(), Extension("next", migrations="next_release")], Path("/tmp")))
"""


def test_upgrade_and_rollback_keep_data_though_the_schema_went_on(release: Release) -> None:
    token = release.token_of("bob")
    status, made = release.ask(f"{API}/projects", method="POST", token=token, body={"name": "kept"})
    assert status == 201, made
    before = pods(release)
    release.upgrade(service={"settings": {"event_retention": 1234}})
    assert not set(pods(release)) & set(before)
    # What is asked from a pod that ends, ends with it.
    release.kubectl("wait", "--for=delete", *(f"pod/{n}" for n in before), "--timeout=120s")
    status, listed = release.ask(f"{API}/projects", token=token)
    assert status == 200, listed
    assert [p["name"] for p in listed["items"]] == ["kept"]

    until(lambda: leader(release), "one leads")
    assert "next_0001" in in_pod(release, leader(release), NEXT)
    assert query(release, "SELECT colour FROM projects WHERE name = 'kept'") == [""]
    before = pods(release)
    release.helm("rollback", NAME, "1", "--wait", "--timeout", "5m")
    all_ready(release)
    release.kubectl("wait", "--for=delete", *(f"pod/{n}" for n in before), "--timeout=120s")
    settings = release.kubectl(
        "exec", "deployment/nablahub-service", "--", "cat", "/etc/nablahub/settings.json"
    )
    assert json.loads(settings)["event_retention"] == 100_000
    until(lambda: leader(release), "one leads")
    assert [p["name"] for p in release.ask(f"{API}/projects", token=token)[1]["items"]] == ["kept"]
    assert release.ask(f"{API}/projects", method="POST", token=token, body={"name": "n"})[0] == 201


def test_a_database_that_was_not_migrated_is_said_so(release: Release) -> None:
    """Last: it takes a revision away."""
    query(release, "DELETE FROM alembic_version")
    script = "python -m nablahub.service --state-dir /tmp/s --settings /etc/nablahub/settings.json"
    pod = next(iter(pods(release)))
    said = release.kubectl("exec", pod, "--", "sh", "-c", f"{script} 2>&1 || true")
    assert "The database lacks revisions of this release" in said
    assert "--migrate" in said
