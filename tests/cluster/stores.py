"""A release's object store: an S3 on this machine, and clients that use it from a pod."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ruamel.yaml import YAML

from tests.cluster.helper import own_address
from tests.cluster.releases import Release
from tests.cluster.target import Cluster
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS, seaweedfs

SECRET_NAME = "store"
ENTRY = "http://nablahub-traefik"

#: In a pod: a client of the release, as a user, with what the test asks for.
CLIENT = """
import hashlib, json, sys, tempfile
from pathlib import Path
from nablahub.client import Hub
from nablahub.core.transport import Transport
asked = json.load(sys.stdin)
hub = Hub(Transport(asked["url"] + "/services/nablahub", asked["token"]))
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


@contextmanager
def reachable(cluster: Cluster) -> Iterator[SeaweedFS]:
    """Yield an S3 on this machine, where pods reach it."""
    given = YAML(typ="safe").load(cluster.kubeconfig)
    with seaweedfs(own_address(given["clusters"][0]["cluster"]["server"])) as running:
        yield running


def values(s3: SeaweedFS, bucket: str) -> dict[str, Any]:
    """Return the chart's values for a bucket of it."""
    store = {
        "url": f"s3://{bucket}/data", "endpoint": s3.endpoint, "region": REGION,
        "existingSecret": SECRET_NAME, "accessKeyKey": "id", "secretKeyKey": "key",
    }  # fmt: skip
    return {"service": {"objectStore": store, "settings": {"allow_private_addresses": True}}}


def give_keys(release: Release) -> None:
    """Make the Secret with the keys to it, in the release's namespace."""
    keys = {
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET_NAME},
        "stringData": {"id": KEY, "key": SECRET},
    }  # fmt: skip
    release.kubectl("apply", "--filename=-", given=json.dumps(keys))


def client(
    release: Release,
    token: str,
    code: str,
    *,
    pod: str = "deployment/nablahub-service",
    url: str = ENTRY,
    **asked: Any,
) -> Any:
    """Run code of a client in a pod of the service and return what it printed.

    Parameters
    ----------
    url : str
        Whom it asks: the public entry, or one of the pods.
    asked
        What the code finds in ``asked``.
    """
    said = release.kubectl(
        "exec", "-i", pod, "--", "python", "-c", CLIENT + code,
        given=json.dumps({"token": token, "url": url, **asked}),
    )  # fmt: skip
    return json.loads(said)
