"""A folder of a bucket, asked by ourselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

import botocore.exceptions as boto

from nablahub.core.objects import CHUNK
from nablahub.core.s3 import S3Store
from nablahub.core.s3_errors import told
from nablahub.storage.mounting.errors import ChangedMeanwhile, MountFailed
from nablahub.storage.mounting.remote import Content, Remote

#: What a bucket has without being asked for more.
PAGE: Final = 1000


class S3Folder:
    """A folder of a bucket.

    Parameters
    ----------
    store : S3Store
        Of that folder.
    begun : callable
        Told the path and the id of each upload in parts, which a kill would leave behind.
    """

    def __init__(
        self, store: S3Store, begun: Callable[[str, str], None] = lambda _path, _upload: None
    ) -> None:
        self._store, self._begun = store, begun

    @property
    def place(self) -> str:
        """See `RemoteFolder.place`."""
        return f"s3://{self._store.config.bucket}/{self._store.root}".rstrip("/")

    def check(self) -> None:
        """Find out whether it may be listed; StoreAway or StoreRefused when not."""
        self.page(limit=1)

    def objects(self) -> Iterator[Remote]:
        """See `RemoteFolder.objects`."""
        found, cursor = self.page()
        yield from found
        while cursor is not None:
            found, cursor = self.page(cursor)
            yield from found

    def page(
        self, cursor: str | None = None, *, limit: int | None = None
    ) -> tuple[list[Remote], str | None]:
        """Return a part of what is below it, and what to ask with for the next part, if any."""
        prefix = f"{self._store.root}/" if self._store.root else ""
        following = {} if cursor is None else {"ContinuationToken": cursor}
        with told(self._store.config):
            answer = self._store.client.list_objects_v2(
                Bucket=self._store.config.bucket, Prefix=prefix, MaxKeys=limit or PAGE, **following
            )
        found = [
            Remote(
                str(item["Key"]).removeprefix(prefix),
                int(item["Size"]),
                str(item["ETag"]).strip('"'),
            )
            for item in answer.get("Contents", [])
        ]
        return found, answer["NextContinuationToken"] if answer.get("IsTruncated") else None

    def links(self, paths: Sequence[str]) -> list[str]:
        """Return signed URLs from which one of our own jobs gets objects; none when it may not."""
        if not self._store.config.direct:
            return []
        return [self._store.transfers.sign_get(path, inside=True) for path in paths]

    def read(self, path: str, start: int, length: int, etag: str) -> bytes:
        """See `RemoteFolder.read`."""
        try:
            return self._store.read_as(path, start, length, etag)
        except FileNotFoundError as error:
            raise changed(path, self.place) from error

    def write(self, path: str, content: Content, known: str | None) -> str:
        """See `RemoteFolder.write`."""
        there = self._etag(path)
        if there == content.etag:
            return there  # By whomever, perhaps by ourselves before a kill.
        if there is not None and there != known:
            raise ChangedMeanwhile("the bucket has another one since then")
        if there is None and known is not None:
            raise ChangedMeanwhile("it was deleted in the bucket since then")
        size, source = 0, content.open()
        with self._store.create(path, begun=partial(self._begun, path)) as writer:
            while part := source.read(CHUNK):
                size += len(part)
                writer.write(part)
            if size != content.size:
                raise MountFailed("it was changed while it was being written back")
            writer.commit()
        return self._etag(path) or content.etag

    def abandon(self, path: str, upload: str) -> None:
        """Give up an upload that was begun; one that was completed is none any more."""
        self._store.transfers.abort(path, upload)

    def remove(self, path: str, known: str) -> None:
        """See `RemoteFolder.remove`."""
        there = self._etag(path)
        if there is None:
            return
        if there != known:
            raise ChangedMeanwhile(
                "it was to be deleted, and the bucket has another one since then"
            )
        self._store.remove(path)

    def _etag(self, path: str) -> str | None:
        """Return the ETag of an object now, None when there is none."""
        key = f"{self._store.root}/{path}".lstrip("/")
        with told(self._store.config):
            try:
                found = self._store.client.head_object(Bucket=self._store.config.bucket, Key=key)
            except boto.ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    return None
                raise
        return str(found["ETag"]).strip('"')


def changed(path: str, place: str) -> MountFailed:
    """Return the error about an object that is not any more what was listed."""
    return MountFailed(
        f"'{path}' was changed in {place} while it was being copied.", hint="Try again."
    )
