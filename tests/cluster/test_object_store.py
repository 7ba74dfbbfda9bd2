"""The chart with an S3 by reference: data lie there, and outlive the service's pod."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cluster.helper import own_address
from tests.cluster.releases import Release, images, merged
from tests.cluster.target import Cluster
from tests.helm.charts import assemble
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS, seaweedfs

API = "/services/nablahub/api/v1"
SERVICE = ("-l", "app.kubernetes.io/component=service")
SECRET_NAME = "store"


@pytest.fixture(scope="module")
def s3(cluster: Cluster) -> Iterator[SeaweedFS]:
    """An S3 on this machine, where pods reach it."""
    given = YAML(typ="safe").load(cluster.kubeconfig)
    with seaweedfs(own_address(given["clusters"][0]["cluster"]["server"])) as running:
        yield running


@pytest.fixture(scope="module")
def bucket(s3: SeaweedFS) -> str:
    return s3.bucket()


@pytest.fixture(scope="module")
def release(
    cluster: Cluster, s3: SeaweedFS, bucket: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Release]:
    folder = tmp_path_factory.mktemp("release")
    store = {
        "url": f"s3://{bucket}/data", "endpoint": s3.endpoint, "region": REGION,
        "existingSecret": SECRET_NAME, "accessKeyKey": "id", "secretKeyKey": "key",
    }  # fmt: skip
    service = {
        "storage": {"size": "1Gi"},
        "objectStore": store,
        "settings": {"allow_private_addresses": True},
    }
    found = Release(
        cluster, assemble(folder), merged(images(cluster), {"service": service}), folder
    )
    keys = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET_NAME},
        "stringData": {"id": KEY, "key": SECRET},
    }  # fmt: skip
    try:
        found.kubectl("create", "namespace", found.namespace)
        found.kubectl("apply", "--filename=-", given=json.dumps(keys))
        found.upgrade()
        yield found
    finally:
        found.remove()


#: In a pod: a client of the release, as a user, with what the test asks for.
CLIENT = """
import hashlib, json, sys, tempfile
from pathlib import Path
from nablahub.client import Hub
from nablahub.core.transport import Transport
asked = json.load(sys.stdin)
hub = Hub(Transport("http://nablahub-traefik/services/nablahub", asked["token"]))
folder = Path(tempfile.mkdtemp())
def digests():
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
"""
#: Small files, and one that goes in parts.
PUT = """
import random
draw = random.Random(7)
(folder / "images").mkdir()
for number in range(50):
    (folder / "images" / f"{number}.bin").write_bytes(draw.randbytes(2000))
(folder / "whole.bin").write_bytes(draw.randbytes(24 << 20))
project = hub.projects.create("digits").id
hub.datasets.create("digits", project=project)
version = hub.datasets.upload("digits", folder)
print(json.dumps({"version": version.ref, "files": digests()}))
"""
GET = """
hub.datasets.download(asked["version"], folder)
print(json.dumps(digests()))
"""
PROVIDE = """
made = hub.storage.create("ours", **asked["provider"])
print(json.dumps(made.id))
"""
CHECK = """
print(json.dumps(hub.storage.check("ours").model_dump()))
"""


def client(release: Release, token: str, code: str, **asked: Any) -> Any:
    """Run code of a client in the service's pod and return what it printed."""
    said = release.kubectl(
        "exec", "-i", "deployment/nablahub-service", "--", "python", "-c", CLIENT + code,
        given=json.dumps({"token": token, **asked}),
    )  # fmt: skip
    return json.loads(said)


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
