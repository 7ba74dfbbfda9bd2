"""A team's own bucket in a real S3, as tests of mounts use it."""

from __future__ import annotations

from nablahub.storage.api import StorageAPI
from tests.support.s3 import KEY, REGION, SECRET, SeaweedFS


class WithBucket:
    """Whoever has a bucket `bucket` in `s3`."""

    s3: SeaweedFS
    bucket: str

    def provide(self, storage: StorageAPI) -> None:
        """Make it known as the storage provider `ours`."""
        storage.create(
            "ours", bucket=self.bucket, access_key=KEY, secret_key=SECRET,
            endpoint=self.s3.endpoint, region=REGION,
        )  # fmt: skip

    def put(self, **objects: bytes) -> None:
        """Write objects; `__` stands for a slash."""
        for key, content in objects.items():
            name = key.replace("__", "/")
            self.s3.client().put_object(Bucket=self.bucket, Key=name, Body=content)

    def get(self, key: str) -> bytes:
        """Return what an object holds."""
        found: bytes = self.s3.client().get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return found
