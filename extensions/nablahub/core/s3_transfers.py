"""Uploads that clients make by themselves: multipart, so that only we can complete them.

A client gets a signed URL for each part, never one that puts a whole object: what it sends is
seen under its key only when the service has completed the upload, and nothing can be sent to it
afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import botocore.exceptions as boto

from nablahub.core.s3_errors import told
from nablahub.core.storesettings import StorePlace

#: How long a signed URL works, in seconds.
SIGNED_SECONDS: Final = 3600


@dataclass(frozen=True)
class Begun:
    """A multipart upload that was not completed."""

    key: str
    upload: str
    at: datetime


class Transfers:
    """Multipart uploads and signed URLs below a folder of a bucket.

    Parameters
    ----------
    client, signer : botocore client
        For the service's own requests, and for those that it signs for others.
    place : StorePlace
        Which bucket.
    root : str
        Folder of the bucket, before all keys.
    """

    def __init__(self, client: Any, signer: Any, place: StorePlace, root: str) -> None:
        self._client, self._signer = client, signer
        self._place, self._root = place, root

    def _of(self, key: str) -> dict[str, str]:
        full = f"{self._root}/{key}" if self._root else key
        return {"Bucket": self._place.bucket, "Key": full}

    def begin(self, key: str) -> str:
        """Begin an upload and return its id."""
        with told(self._place):
            return str(self._client.create_multipart_upload(**self._of(key))["UploadId"])

    def put(self, key: str, upload: str, number: int, data: bytes) -> str:
        """Send a part, counted from 1, and return its tag."""
        with told(self._place):
            found = self._client.upload_part(
                **self._of(key), UploadId=upload, PartNumber=number, Body=data
            )
        return str(found["ETag"])

    def sign_part(self, key: str, upload: str, number: int, *, inside: bool = False) -> str:
        """Return the URL to which a client sends a part by PUT; ``inside``: one of our own jobs."""
        asked = {**self._of(key), "UploadId": upload, "PartNumber": number}
        signer = self._client if inside else self._signer
        return str(signer.generate_presigned_url("upload_part", asked, SIGNED_SECONDS))

    def sign_get(self, key: str, *, inside: bool = False) -> str:
        """Return the URL from which a client gets an object; ``inside``: one of our own jobs.

        Jobs run beside the service, where the store's own endpoint is the nearer one.
        """
        signer = self._client if inside else self._signer
        return str(signer.generate_presigned_url("get_object", self._of(key), SIGNED_SECONDS))

    def parts(self, key: str, upload: str) -> dict[int, tuple[int, str]] | None:
        """Return size in bytes and tag of each part that arrived; None when the upload is gone."""
        found: dict[int, tuple[int, str]] = {}
        marker = 0
        with told(self._place):
            while True:
                try:
                    page = self._client.list_parts(
                        **self._of(key), UploadId=upload, PartNumberMarker=marker
                    )
                except boto.ClientError as error:
                    if _code(error) == "NoSuchUpload":
                        return None
                    raise
                for part in page.get("Parts", []):
                    found[int(part["PartNumber"])] = (int(part["Size"]), str(part["ETag"]))
                if not page.get("IsTruncated"):
                    return found
                marker = int(page["NextPartNumberMarker"])

    def complete(self, key: str, upload: str, tags: Sequence[str]) -> bool:
        """Make an object of the parts; False where the upload is gone.

        It may have been completed before: by another, or by ourselves if the answer was lost.
        """
        listed = [{"PartNumber": n, "ETag": tag} for n, tag in enumerate(tags, 1)]
        with told(self._place):
            try:
                self._client.complete_multipart_upload(
                    **self._of(key), UploadId=upload, MultipartUpload={"Parts": listed}
                )
            except boto.ClientError as error:
                if _code(error) != "NoSuchUpload":
                    raise
                return False
        return True

    def abort(self, key: str, upload: str) -> None:
        """Give an upload up; one that is gone is no error."""
        with told(self._place):
            try:
                self._client.abort_multipart_upload(**self._of(key), UploadId=upload)
            except boto.ClientError as error:
                if _code(error) != "NoSuchUpload":
                    raise

    def begun(self) -> Iterator[Begun]:
        """Yield the uploads that were not completed."""
        prefix = f"{self._root}/" if self._root else ""
        pages = self._client.get_paginator("list_multipart_uploads")
        with told(self._place):
            for page in pages.paginate(Bucket=self._place.bucket, Prefix=prefix):
                for item in page.get("Uploads", []):
                    key = str(item["Key"]).removeprefix(prefix)
                    yield Begun(key, str(item["UploadId"]), item["Initiated"])


def _code(error: boto.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
