"""The peers that need packages of their own: ``dvc`` with S3, and boto3, in one environment.

They pin botocore to other releases than the hub's, so they are installed beside it, once, from
PyPI, into ``~/.cache/nablahub-bench/peers``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.s3 import SeaweedFS

PACKAGES = ("dvc[s3]>=3.60", "boto3>=1.36")
#: Puts or gets all files of a folder, as boto3 does it best: parts of several files side by side.
COPY = """
import os, sys
import boto3
from boto3.s3.transfer import TransferConfig, create_transfer_manager
what, endpoint, bucket, folder = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint)
manager = create_transfer_manager(client, TransferConfig(max_concurrency=10))
if what == "put":
    found = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
    futures = [manager.upload(file, bucket, os.path.relpath(file, folder)) for file in found]
else:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    names = [item["Key"] for page in pages for item in page.get("Contents", [])]
    futures = []
    for name in names:
        target = os.path.join(folder, name)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        futures.append(manager.download(bucket, name, target))
for future in futures:
    future.result()
manager.shutdown()
"""


@cache
def peers() -> Path:
    """Return the folder of the peers' commands, installing them when they are not there yet."""
    cache_home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    root = cache_home / "nablahub-bench/peers"
    done = root / "installed"
    if not done.exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "-q", "--clear", "-p", sys.executable, str(root)], check=True)
        python = str(root / "bin/python")
        subprocess.run(
            [uv, "pip", "install", "-q", "--compile-bytecode", "-p", python, *PACKAGES], check=True
        )
        done.touch()
    return root / "bin"


def s3_environment(s3: SeaweedFS) -> dict[str, str]:
    """Return what tells a peer the account of an S3."""
    from tests.support.s3 import KEY, REGION, SECRET

    return {
        "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": REGION,
    }  # fmt: skip


def boto(what: str, s3: SeaweedFS, bucket: str, folder: Path) -> list[str]:
    """Return the command that puts a folder into a bucket, or gets one from it."""
    return [str(peers() / "python"), "-c", COPY, what, s3.endpoint, bucket, str(folder)]
