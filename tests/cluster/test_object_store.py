"""The chart with an S3 by reference: data lie there, and outlive the service's pod."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cluster import stores
from tests.cluster.releases import Release, images, merged
from tests.cluster.stores import GET, PUT, SECRET_NAME, client
from tests.cluster.target import Cluster
from tests.helm.charts import assemble
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS

API = "/services/nablahub/api/v1"
SERVICE = ("-l", "app.kubernetes.io/component=service")


@pytest.fixture(scope="module")
def release(
    cluster: Cluster, s3: SeaweedFS, bucket: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("release")
    own = {"service": {"storage": {"size": "1Gi"}}}
    wanted = merged(images(cluster), own, stores.values(s3, bucket))
    found = Release(cluster, assemble(folder), wanted, folder)
    try:
        found.kubectl("create", "namespace", found.namespace)
        stores.give_keys(found)
        found.upgrade()
        yield found
    finally:
        found.remove()


PROVIDE = """
made = hub.storage.create("ours", **asked["provider"])
print(json.dumps(made.id))
"""
CHECK = """
print(json.dumps(hub.storage.check("ours").model_dump()))
"""


def in_pod(release: Release, script: str) -> str:
    """Run a line of shell in the service's pod."""
    return release.kubectl("exec", "deployment/nablahub-service", "--", "sh", "-c", script)


def replace_pod(release: Release) -> None:
    """Delete the service's pod and wait for another one."""
    old = release.kubectl("get", "pod", *SERVICE, "-o", "name")
    release.kubectl("delete", "pod", *SERVICE, "--timeout=120s")
    release.kubectl("rollout", "status", "deployment/nablahub-service", "--timeout=180s")
    assert release.kubectl("get", "pod", *SERVICE, "-o", "name") != old


def test_a_version_lies_in_the_bucket_and_outlives_the_pod(
    release: Release, s3: SeaweedFS, bucket: str
) -> None:
    token = release.token_of("alice")
    put = client(release, token, PUT)
    assert len(put["files"]) == 51
    keys = s3.keys(bucket)
    assert keys
    assert all(key.startswith("data/") for key in keys)
    heads = [s3.client().head_object(Bucket=bucket, Key=key) for key in keys]
    # The files draw from one stream of chance: no byte of them can be left out.
    assert sum(head["ContentLength"] for head in heads) >= 50 * 2000 + (24 << 20)
    assert s3.multiparts(bucket) == set()
    # None of it is on the volume.
    assert in_pod(release, "find /srv/nablahub/state -type f -size +1000k -not -name '*.db*'") == ""

    replace_pod(release)
    assert client(release, token, GET, version=put["version"]) == put["files"]


def test_secrets_of_teams_are_read_by_the_next_pod(release: Release, s3: SeaweedFS) -> None:
    token = release.token_of("bob")
    provider = {
        "bucket": s3.bucket(), "access_key": KEY, "secret_key": SECRET,
        "endpoint": s3.endpoint, "region": REGION,
    }  # fmt: skip
    assert client(release, token, PROVIDE, provider=provider)
    replace_pod(release)
    assert client(release, token, CHECK)["ok"] is True


def test_the_keys_to_the_store_are_files_of_one_pod(release: Release) -> None:
    mode = "stat -L -c %a /etc/nablahub/object-store/secret-key"
    assert in_pod(release, mode).strip() == "440"
    assert SECRET not in in_pod(release, "env; cat /etc/nablahub/settings.json")
    found = json.loads(release.kubectl("get", "pod", "-o", "json"))["items"]
    holders = {p["metadata"]["name"] for p in found if f'"{SECRET_NAME}"' in json.dumps(p["spec"])}
    assert len(holders) == 1
    assert next(iter(holders)).startswith("nablahub-service-")
    maps = release.kubectl("get", "configmap", "-o", "json")
    assert SECRET not in maps
    assert KEY not in maps
