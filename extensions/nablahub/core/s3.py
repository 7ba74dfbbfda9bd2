"""Objects in an S3: obstore moves the bytes, botocore signs and looks after multipart uploads.

An S3 shows no object before all of it has arrived, so whatever has its final key is whole.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, cast

import botocore.session
import obstore
import obstore.exceptions as obs
from botocore.config import Config
from obstore.store import S3Store as Remote

from nablahub.core.objects import CHUNK, PART, ObjectWriter
from nablahub.core.s3_errors import told
from nablahub.core.s3_transfers import Transfers
from nablahub.core.store_errors import StoreAway
from nablahub.core.storesettings import StoreConfig

CONNECT_SECONDS: Final = 5
READ_SECONDS: Final = 60


class S3Store:
    """Objects below a folder of a bucket.

    Parameters
    ----------
    config : StoreConfig
        Which bucket, and the keys to it.
    folder : str
        Put between the configured prefix and every key.
    proxy : str
        URL of a proxy that all requests of ours go through; empty: that of the environment.
    """

    def __init__(self, config: StoreConfig, folder: str = "", proxy: str = "") -> None:
        self.config = config
        self._proxy = proxy
        self.root = "/".join(part for part in (config.prefix, folder) if part)
        self._lock = threading.Lock()

    @cached_property
    def _remote(self) -> Remote:
        config = self.config
        options: dict[str, Any] = {
            "bucket": config.bucket, "region": config.region,
            "access_key_id": config.access_key.get_secret_value(),
            "secret_access_key": config.secret_key.get_secret_value(),
            "virtual_hosted_style_request": not config.path_style,
        }  # fmt: skip
        if config.endpoint:
            options["endpoint"] = _for_obstore(config)
        with told(config):
            return Remote(
                prefix=self.root or None,
                config=cast("Any", options),
                client_options={
                    "allow_http": config.endpoint.startswith("http://"),
                    "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
                    "timeout": timedelta(seconds=READ_SECONDS),
                    **({"proxy_url": self._proxy} if self._proxy else {}),
                },
                retry_config={"max_retries": 2, "retry_timeout": timedelta(seconds=15)},
            )

    @cached_property
    def client(self) -> Any:
        """A botocore client; it may be used by several threads."""
        return make_client(self.config, self.config.endpoint, proxy=self._proxy)

    @cached_property
    def transfers(self) -> Transfers:
        """What signs requests of clients and looks after their uploads."""
        with self._lock:
            public = self.config.public_endpoint or self.config.endpoint
            signer = make_client(self.config, public)  # It signs, and connects to nothing.
            return Transfers(self.client, signer, self.config, self.root)

    def create(self, key: str, *, begun: Callable[[str], None] | None = None) -> ObjectWriter:
        """Begin an object; nothing is seen of it before its ``commit``.

        Parameters
        ----------
        begun : callable or None
            Told the id of a multipart upload, which a kill would leave behind.
        """
        return _Writer(self, key, begun)

    def put(self, key: str, data: bytes) -> None:
        """Store a small object at once."""
        with told(self.config):
            obstore.put(self._remote, key, data, use_multipart=False)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return bytes of an object; FileNotFoundError when it is not there.

        As of a file, fewer come, or none, where it ends earlier.
        """
        with told(self.config):
            if length is None and start == 0:
                return bytes(obstore.get(self._remote, key).bytes())
            if length == 0:
                return b""
            try:
                if length is not None:
                    return bytes(obstore.get_range(self._remote, key, start=start, length=length))
                options = {"range": {"offset": start}}
                return bytes(obstore.get(self._remote, key, options=cast("Any", options)).bytes())
            except obs.GenericError as error:
                if "<Code>InvalidRange</Code>" in str(error):
                    return b""
                raise

    def tail(self, key: str, length: int) -> tuple[bytes, int]:
        """Return an object's last bytes and the size of all of it, by one request."""
        with told(self.config):
            options = {"range": {"suffix": length}}
            try:
                found = obstore.get(self._remote, key, options=cast("Any", options))
            except obs.GenericError as error:
                if "<Code>InvalidRange</Code>" in str(error):
                    return b"", 0  # Nothing is the end of an empty object.
                raise
            return bytes(found.bytes()), int(found.meta["size"])

    def read_as(self, key: str, start: int, length: int, etag: str) -> bytes:
        """Return bytes of an object as it was when it had that ETag; FileNotFoundError else."""
        options = {"if_match": f'"{etag}"'}
        if length:
            options |= {"range": (start, start + length)}  # type: ignore[dict-item]  # as obstore has it
        with told(self.config):
            try:
                found = bytes(obstore.get(self._remote, key, options=cast("Any", options)).bytes())
            except obs.PreconditionError as error:
                raise FileNotFoundError(key) from error
        return found[:length]

    def chunks(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """Yield bytes of an object in pieces; one request is under way while one is used up."""
        if length <= PART:
            yield from _cut(self.read(key, start, length))
            return
        ranges = [(at, min(PART, start + length - at)) for at in range(start, start + length, PART)]
        with ThreadPoolExecutor(1, "nablahub-s3-read") as pool:
            coming = pool.submit(self.read, key, *ranges[0])
            for following in [*ranges[1:], None]:
                data = coming.result()
                if following is not None:
                    coming = pool.submit(self.read, key, *following)
                yield from _cut(data)

    def size(self, key: str) -> int | None:
        """Return the object's size in bytes, None when it is not there."""
        with told(self.config):
            try:
                return int(obstore.head(self._remote, key)["size"])
            except FileNotFoundError:
                return None

    def stamp(self, key: str) -> str | None:
        """Return the object's ETag and time with its store's address, None when it is not there."""
        with told(self.config):
            try:
                found = obstore.head(self._remote, key)
            except FileNotFoundError:
                return None
        where = f"{self.config.endpoint} {self.config.bucket}/{self.root}"
        return f"{where} {found['e_tag']} {found['last_modified'].isoformat()}"

    def remove(self, key: str) -> None:
        """Delete an object; one that is not there is no error."""
        self.remove_all([key])

    def remove_all(self, keys: Sequence[str]) -> None:
        """Delete objects, a thousand in a request."""
        with told(self.config), suppress(FileNotFoundError):
            if keys:
                obstore.delete(self._remote, list(keys))

    def keys(self, prefix: str) -> Iterator[str]:
        """Yield the keys in a folder and below it."""
        with told(self.config):
            for page in obstore.list(self._remote, prefix=prefix):
                yield from (str(item["path"]) for item in page)

    def local(self, key: str) -> Path | None:
        """Return None: the object is elsewhere."""
        return None

    def adopt(self, file: Path, key: str) -> None:
        """Put a finished file and delete it."""
        with told(self.config):
            obstore.put(self._remote, key, file, chunk_size=PART, max_concurrency=3)
        file.unlink()


class _Writer:
    """Collects a part; what needs more than one becomes a multipart upload."""

    def __init__(self, store: S3Store, key: str, begun: Callable[[str], None] | None) -> None:
        self._store, self._key, self._begun = store, key, begun
        self._buffer = bytearray()
        self._size = 0
        self._upload: str | None = None
        self._parts: list[str] = []

    def write(self, data: bytes | memoryview, /) -> int:
        self._buffer += data
        self._size += len(data)
        while len(self._buffer) >= PART:
            self._send(bytes(self._buffer[:PART]))
            del self._buffer[:PART]
        return len(data)

    def _send(self, part: bytes) -> None:
        transfers = self._store.transfers
        if self._upload is None:
            self._upload = transfers.begin(self._key)
            if self._begun is not None:
                self._begun(self._upload)
        self._parts.append(transfers.put(self._key, self._upload, len(self._parts) + 1, part))

    def local(self) -> Path | None:
        return None

    def commit(self) -> None:
        if self._upload is None:
            self._store.put(self._key, bytes(self._buffer))
            return
        if self._buffer:
            self._send(bytes(self._buffer))
        done = self._store.transfers.complete(self._key, self._upload, self._parts)
        if not done and self._store.size(self._key) != self._size:
            raise StoreAway("The object store gave an upload up before it was complete.")
        self._upload = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._upload is not None:
            with suppress(Exception):  # It is swept up later; the first error counts.
                self._store.transfers.abort(self._key, self._upload)


def _cut(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), CHUNK):
        yield data[start : start + CHUNK]


def _for_obstore(config: StoreConfig) -> str:
    """Return the endpoint as obstore wants it: with the bucket where it is in the host's name."""
    if config.path_style:
        return config.endpoint
    scheme, _, host = config.endpoint.partition("://")
    return f"{scheme}://{config.bucket}.{host}"


def make_client(
    config: StoreConfig,
    endpoint: str,
    *,
    tries: int = 3,
    seconds: int = READ_SECONDS,
    proxy: str = "",
) -> Any:
    """Return a botocore client that speaks to a store by one of its endpoints.

    Parameters
    ----------
    tries : int
        How often a request is sent in all.
    seconds : int
        How long a store may be silent.
    proxy : str
        URL of a proxy; empty: that of the environment.
    """
    session = botocore.session.Session()
    session.set_config_variable("credentials_file", "/dev/null")
    session.set_config_variable("config_file", "/dev/null")
    return session.create_client(
        "s3",
        region_name=config.region,
        endpoint_url=endpoint or None,
        aws_access_key_id=config.access_key.get_secret_value(),
        aws_secret_access_key=config.secret_key.get_secret_value(),
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if config.path_style else "virtual"},
            connect_timeout=CONNECT_SECONDS,
            read_timeout=seconds,
            proxies={"http": proxy, "https": proxy} if proxy else None,
            retries={"total_max_attempts": tries, "mode": "standard"},
            # Others than Amazon's do not all know the checksums that it adds by itself.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )
