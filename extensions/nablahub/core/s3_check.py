"""Trying a store out: whether its keys work for all that is done with it, in a few requests."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import botocore.exceptions as boto

from nablahub.core.s3 import make_client
from nablahub.core.s3_errors import reason
from nablahub.core.store_errors import Reason
from nablahub.core.storesettings import StoreConfig


@dataclass(frozen=True)
class Checked:
    """What came out of it.

    Parameters
    ----------
    problem : Reason or None
        What is wrong; None when everything worked.
    cors : bool
        Whether pages of the hub's origin may send and get objects.
    """

    problem: Reason | None = None
    cors: bool = False


def check_store(config: StoreConfig, root: str, origin: str, proxy: str = "") -> Checked:
    """Write, list, read and delete a small object, and try an upload in parts.

    Parameters
    ----------
    config : StoreConfig
        Which store.
    root : str
        Folder in the bucket that is used for it.
    origin : str
        Origin of the hub's pages, for which CORS is set up where the store lets us.
    proxy : str
        See :class:`nablahub.core.s3.S3Store`.
    """
    client = make_client(config, config.endpoint, tries=1, seconds=10, proxy=proxy)
    at = {"Bucket": config.bucket, "Key": f"{root}/.nablahub-check-{secrets.token_hex(6)}"}
    data = secrets.token_bytes(32)
    try:
        client.put_object(**at, Body=data)
        try:
            got = client.get_object(**at)["Body"].read()
            listed = client.list_objects_v2(Bucket=config.bucket, Prefix=at["Key"])
            upload = client.create_multipart_upload(**at)["UploadId"]
            client.abort_multipart_upload(**at, UploadId=upload)
        finally:
            client.delete_object(**at)
    except (boto.BotoCoreError, boto.ClientError) as error:
        return Checked(reason(error, config))
    if got != data or not listed.get("Contents"):
        return Checked(
            Reason(
                "The object store does not give back what was written to it.",
                "Is it an S3, and is there a cache before it?", "endpoint",
            )
        )  # fmt: skip
    return Checked(cors=_allow(client, config.bucket, origin))


def _allow(client: Any, bucket: str, origin: str) -> bool:
    """Let pages of an origin use signed URLs; rules that are there stay."""
    try:
        rules = client.get_bucket_cors(Bucket=bucket)["CORSRules"]
    except (boto.BotoCoreError, boto.ClientError, KeyError):
        rules = []  # None yet, or a store that has no such thing.
    if any(_suits(rule, origin) for rule in rules):
        return True
    rule = {
        "AllowedOrigins": [origin], "AllowedMethods": ["GET", "PUT", "HEAD"],
        "AllowedHeaders": ["*"], "ExposeHeaders": ["ETag", "Content-Range"], "MaxAgeSeconds": 3600,
    }  # fmt: skip
    try:
        client.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": [*rules, rule]})
    except (boto.BotoCoreError, boto.ClientError):
        return False
    return True


def _suits(rule: dict[str, Any], origin: str) -> bool:
    return {origin, "*"} & set(rule.get("AllowedOrigins", [])) != set() and {"GET", "PUT"} <= set(
        rule.get("AllowedMethods", [])
    )
