"""A folder of a bucket, of which a pod asks the service: it has the keys, and pods have none.

Objects are got from the bucket itself by signed URLs where the service gives them and the pod gets
there, else through the service; what is written goes through the service, which compares it with
what others wrote meanwhile. Runs in the runner image's own environment.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx

from nablahub.core.errors import NablaError, Unavailable
from nablahub.core.objects import CHUNK
from nablahub.core.transport import Transport
from nablahub.storage.mounting.copying import AT_ONCE
from nablahub.storage.mounting.errors import MountFailed
from nablahub.storage.mounting.listing import is_file_name
from nablahub.storage.mounting.remote import Content, Remote

#: Objects for which signed URLs are asked for at once.
_LINKS: Final = 250
#: Seconds after which a signed URL is not used any more; it is good for twice as long.
_OLD: Final = 1800.0
#: Seconds that a pod waits for the bucket itself to be reached, and for it to say something.
_CONNECT, _SILENT = 5.0, 60.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 5.0
#: How often a request is repeated that the service failed at, without a reason.
_STUMBLES: Final = 10


class HubFolder:
    """A mount of the pod's own job; see `RemoteFolder`.

    Parameters
    ----------
    hub : Transport
        Speaks to the service as the job's own pod.
    path : str
        The mount's place in the API.
    place : str
        The folder's name for people; empty: the service is asked.
    """

    def __init__(self, hub: Transport, path: str, place: str = "") -> None:
        self._hub, self._path = hub, path
        self._first: dict[str, Any] | None = None
        self._place = place
        self._links = _Links(hub, path)

    def close(self) -> None:
        """Close the connections."""
        self._links.close()

    @property
    def place(self) -> str:
        """See `RemoteFolder.place`."""
        if not self._place:
            self._first = self._page(None)
            self._place = self._first["place"]
        return self._place

    def objects(self) -> Iterator[Remote]:
        """See `RemoteFolder.objects`."""
        page, self._first = self._first or self._page(None), None
        while True:
            found = [Remote(each["path"], each["size"], each["etag"]) for each in page["items"]]
            self._links.know(each.path for each in found)
            yield from found
            if page["next"] is None:
                return
            page = self._page(page["next"])

    def _page(self, cursor: str | None) -> dict[str, Any]:
        found: dict[str, Any] = patiently(lambda: self._hub.get(self._path, cursor=cursor))
        return found

    def read(self, path: str, start: int, length: int, etag: str) -> bytes:
        """See `RemoteFolder.read`."""
        found = self._links.read(path, start, length, etag)
        if found is None:
            asked = {"path": path, "start": start, "length": length, "etag": etag}
            found = patiently(lambda: self._relayed(asked))
        if len(found) != length:
            raise MountFailed(f"'{path}' has other bytes than it was listed with.")
        return found

    def _relayed(self, asked: dict[str, Any]) -> bytes:
        with self._hub.stream("GET", f"{self._path}/content", params=asked) as answer:
            return answer.read()

    def write(self, path: str, content: Content, known: str | None) -> str:
        """See `RemoteFolder.write`."""
        asked = {"path": path, "size": content.size, "etag": content.etag, "known": known}
        headers = {"Content-Length": str(content.size), "Content-Type": "application/octet-stream"}

        def send() -> str:
            with self._hub.stream(
                "PUT", f"{self._path}/content", params=asked, content=_pieces(content),
                headers=headers,
            ) as answer:  # fmt: skip
                answer.read()
                return str(answer.json()["etag"])

        return patiently(send)

    def remove(self, path: str, known: str) -> None:
        """See `RemoteFolder.remove`."""
        asked = {"path": path, "known": known}
        patiently(lambda: self._hub.request("DELETE", f"{self._path}/content", params=asked))


class _Links:
    """Gets objects by signed URLs, which are asked for in the order of the listing."""

    def __init__(self, hub: Transport, path: str) -> None:
        self._hub, self._path = hub, f"{path}/links"
        self._http = httpx.Client(
            timeout=httpx.Timeout(_SILENT, connect=_CONNECT),
            limits=httpx.Limits(max_connections=AT_ONCE),
            trust_env=False,
        )
        self._order: list[str] = []
        self._at: dict[str, int] = {}
        self._urls: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()
        #: Whether the pod gets to the bucket; None: nobody tried.
        self._reached: bool | None = None

    def close(self) -> None:
        self._http.close()

    def know(self, paths: Iterator[str]) -> None:
        """Remember in which order objects will be wanted."""
        for path in filter(is_file_name, paths):  # Of others there are no links.
            self._at[path] = len(self._order)
            self._order.append(path)

    def read(self, path: str, start: int, length: int, etag: str) -> bytes | None:
        """Return bytes of an object; None when the bucket does not give them to a pod."""
        url = self._url(path)
        if url is None:
            return None
        headers = {"If-Match": f'"{etag}"'}
        if length:
            headers["Range"] = f"bytes={start}-{start + length - 1}"
        try:
            answer = self._http.get(url, headers=headers)
        except httpx.TransportError:
            self._reached = self._reached or False
            return None
        # Anything else than what was asked for: the service says why, when it is asked.
        if answer.status_code != 206 and (answer.status_code != 200 or start):
            return None
        self._reached = True
        return answer.content[:length]

    def _url(self, path: str) -> str | None:
        with self._lock:  # The others wait for those that are being asked for.
            if self._reached is False:
                return None
            until, url = self._urls.get(path, (0.0, ""))
            if time.monotonic() < until:
                return url
            first = self._at[path]
            paths = self._order[first : first + _LINKS]
            urls = patiently(lambda: self._hub.post(self._path, {"paths": paths}))["urls"]
            if not urls:
                self._reached = False
                return None
            until = time.monotonic() + _OLD
            self._urls = dict(zip(paths, [(until, each) for each in urls], strict=True))
            return str(urls[0])


def _pieces(content: Content) -> Iterator[bytes]:
    """Yield exactly the bytes that were promised; MountFailed when there are others now."""
    source, left = content.open(), content.size
    while left:
        part = source.read(min(left, CHUNK))
        if not part:
            raise MountFailed("it was changed while it was being written back")
        left -= len(part)
        yield part


def patiently[T](ask: Callable[[], T]) -> T:
    """Ask the service, however long it is away: it may just be restarted."""
    wait, left = _FIRST_WAIT, _STUMBLES
    while True:
        try:
            return ask()
        except NablaError as error:
            # That the bucket is away has a code of its own, and was waited for.
            away = error.code == Unavailable.code
            left -= error.code == NablaError.code  # As of a service that is just being stopped.
            if not away and (error.code != NablaError.code or left < 0):
                raise
            time.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)
