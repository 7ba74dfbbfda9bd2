"""The client's half of transfers by signed URLs: side by side, resumed, never through the hub."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Final, NamedTuple

import httpx

from nablahub.core.bodies import Pieces
from nablahub.core.store_errors import StoreAway
from nablahub.core.transport import Transport
from nablahub.datasets.errors import BadObject, ObjectBusy, PartsMissing
from nablahub.datasets.patience import patiently
from nablahub.datasets.pools import wait_all
from nablahub.datasets.scan import Found, read_range
from nablahub.datasets.transfer_types import Location, LocationsAnswer, TransferPlan

#: Parts and ranges that are under way at once.
SIDE_BY_SIDE: Final = 4
#: Ranges of one source that lie closer together than this are got by one request.
GAP: Final = 64 * 1024
#: A store that says nothing for so long is asked anew.
SILENT_SECONDS: Final = 60.0
#: Most bytes of small objects that are got by one request, and of a large one.
GATHERED: Final = 16 * 1024 * 1024
RANGE: Final = 8 * 1024 * 1024
#: Reads bytes of what is sent, in pieces that a connection takes well: (offset, size).
Read = Callable[[int, int], Iterable[bytes]]


class Bucket:
    """Speaks to an object store by signed URLs; may be used by several threads."""

    def __init__(self) -> None:
        self._http = httpx.Client(
            timeout=httpx.Timeout(SILENT_SECONDS, connect=10),
            limits=httpx.Limits(max_connections=2 * SIDE_BY_SIDE),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def put(self, url: str, body: Iterable[bytes], size: int) -> None:
        """Send a part."""
        headers = {"Content-Length": str(size)}
        answer = self._send(lambda: self._http.put(url, content=body, headers=headers), url)
        _checked(answer, url)

    def get(self, url: str, start: int, size: int) -> bytes:
        """Return a range of an object."""
        return b"".join(self.get_pieces(url, start, size))

    def get_pieces(self, url: str, start: int, size: int) -> list[bytes]:
        """Return a range of an object in the pieces in which it came."""
        pieces: list[bytes] = []

        def ask() -> httpx.Response:
            headers = {"Range": f"bytes={start}-{start + size - 1}"}
            with self._http.stream("GET", url, headers=headers) as answer:
                if answer.is_success:
                    pieces.extend(answer.iter_bytes())
                else:
                    answer.read()
            return answer

        answer = self._send(ask, url)
        if answer.status_code in (404, 416) or _ends(answer, start + size):
            # Another URL would not help.
            raise BadObject(
                f"The object store at {_host(url)} has lost bytes of the version.",
                hint="`nablahub datasets verify` names the files and restores them if there is a "
                "copy; else put them again from where they came from.",
            )
        _checked(answer, url)
        if sum(map(len, pieces)) != size:
            raise StoreAway(
                f"The object store at {_host(url)} broke off.", hint="Run the same command again."
            )
        return pieces

    def _send(self, send: Callable[[], httpx.Response], url: str) -> httpx.Response:
        try:
            return send()
        except httpx.TransportError as error:
            raise StoreAway(
                f"The object store at {_host(url)} does not answer "
                f"({str(error) or type(error).__name__}).",
                hint="Run the same command again: it goes on where it stopped. If it never "
                "works, the store may not be reachable from here (see `nablahub storage show`).",
            ) from error


def _ends(answer: httpx.Response, wanted: int) -> bool:
    """Whether an object has fewer bytes than wanted, by its ``Content-Range`` (RFC 9110, 14.4)."""
    total = answer.headers.get("content-range", "").rpartition("/")[2]
    return total.isdigit() and int(total) < wanted


def _checked(answer: httpx.Response, url: str) -> httpx.Response:
    """Return an answer that is none of an error.

    A signature that has expired meanwhile, or a part of an upload that was given up: a new plan
    helps, and is made when this is tried again.
    """
    if answer.is_error or answer.is_redirect:
        raise StoreAway(
            f"The object store at {_host(url)} answered {answer.status_code}: "
            f"{' '.join(answer.text.split())[:300]}",
            hint="Run the same command again: it goes on where it stopped.",
        )
    return answer


def _host(url: str) -> str:
    parts = httpx.URL(url)
    return f"{parts.scheme}://{parts.netloc.decode()}"


class DirectSender:
    """Sends objects of one upload to the object store.

    Parameters
    ----------
    hub : Transport
        How to reach the hub.
    upload : str
        Path of the upload in the API.
    """

    def __init__(self, hub: Transport, upload: str) -> None:
        self._hub = hub
        self._path = f"{upload}/transfers"
        self._bucket = Bucket()

    def close(self) -> None:
        """Close the connections."""
        self._bucket.close()

    def send_pack(self, name: str, parts: Sequence[bytes]) -> None:
        """Send a pack."""
        data = b"".join(parts)
        asked = {"kind": "pack", "name": name, "size": len(data)}
        self._send(asked, lambda offset, size: Pieces([data[offset : offset + size]]), _silent)

    def send_file(self, file: Found, md5: str, sha256: str, report: Callable[[int], None]) -> None:
        """Send a large file, of which no more than a few pieces are in memory.

        Parameters
        ----------
        report : callable
            Told of bytes as they have arrived; those of an earlier attempt included.

        Raises
        ------
        ChangedWhileRead
        """
        asked = {"kind": "object", "name": md5, "sha256": sha256, "size": file.size}
        self._send(asked, partial(read_range, file), report)

    def _send(self, asked: dict[str, Any], read: Read, report: Callable[[int], None]) -> None:
        """Send what has not arrived, and let the hub prove it; all again where it was cut."""
        lock = threading.Lock()
        done = 0

        def told(size: int) -> None:
            nonlocal done
            with lock:
                done += size
                report(size)

        def attempt() -> None:
            plan = TransferPlan.model_validate(self._hub.request("POST", self._path, body=asked))
            told(plan.arrived - done)
            self._parts(plan, read, told)
            self._finish(asked)

        def steadily() -> None:
            try:
                attempt()
            except (PartsMissing, ObjectBusy) as error:
                raise StoreAway(error.detail, hint=error.hint) from error

        patiently(steadily, lambda: done)

    def _parts(self, plan: TransferPlan, read: Read, report: Callable[[int], None]) -> None:
        with ThreadPoolExecutor(SIDE_BY_SIDE, "nablahub-part") as pool:

            def send(part: Any) -> None:
                self._bucket.put(part.url, read(part.offset, part.size), part.size)
                report(part.size)

            futures = [pool.submit(send, part) for part in plan.parts]
            wait_all(futures)

    def _finish(self, asked: dict[str, Any]) -> None:
        while not self._hub.request("POST", f"{self._path}/finish", body=asked)["complete"]:
            pass


def _silent(_size: int) -> None:
    """Report nothing."""


class Wanted(NamedTuple):
    """Neighbouring objects that are got by one request."""

    url: str
    start: int
    size: int
    objects: list[Location]


class DirectReader:
    """Gets objects of a version from the object store.

    Parameters
    ----------
    hub : Transport
        How to reach the hub.
    path : str
        The version's place in the API.
    """

    def __init__(self, hub: Transport, path: str) -> None:
        self._hub = hub
        self._path = path
        self._bucket = Bucket()
        #: Whether the store is reached by signed URLs; unknown before the first question.
        self.direct: bool | None = None

    def close(self) -> None:
        """Close the connections."""
        self._bucket.close()

    def locate(self, md5s: Sequence[str]) -> LocationsAnswer:
        """Ask where objects are."""
        found = LocationsAnswer.model_validate(
            self._hub.request("POST", f"{self._path}/locations", body={"md5": list(md5s)})
        )
        self.direct = found.direct
        return found

    def small(self, md5s: Sequence[str]) -> dict[str, bytes] | None:
        """Return small objects by their md5, not yet proved; None where the hub sends them.

        Raises
        ------
        BadObject
            When the dataset lacks one.
        """
        if self.direct is False:
            return None

        def attempt() -> dict[str, bytes] | None:
            answer = self.locate(md5s)
            if not answer.direct:
                return None
            if len(answer.objects) != len(set(md5s)):
                lost = sorted(set(md5s) - {found.md5 for found in answer.objects})
                raise BadObject(f"The bytes of {lost[0]} are missing from the store.")
            objects: dict[str, bytes] = {}
            with ThreadPoolExecutor(SIDE_BY_SIDE, "nablahub-range") as pool:
                for wanted, data in pool.map(self._get, gather(answer)):
                    for one in wanted.objects:
                        at = one.start - wanted.start
                        objects[one.md5] = data[at : at + one.size]
            return objects

        return patiently(attempt)

    def _get(self, wanted: Wanted) -> tuple[Wanted, bytes]:
        if not wanted.size:
            return wanted, b""
        return wanted, self._bucket.get(wanted.url, wanted.start, wanted.size)

    def large(self, md5: str, size: int, start: int) -> Iterator[bytes] | None:
        """Return the bytes of a large object from ``start`` on; None where the hub sends it."""
        if self.direct is False:
            return None
        answer = self.locate([md5])
        if not answer.direct or not answer.objects:
            return None
        return self._ranges(answer.sources[0].url, start, size)

    def _ranges(self, url: str, start: int, size: int) -> Iterator[bytes]:
        """Yield an object's bytes; no more than a few ranges of it are in memory."""
        coming: deque[Future[list[bytes]]] = deque()
        with ThreadPoolExecutor(SIDE_BY_SIDE, "nablahub-range") as pool:
            for at in range(start, size, RANGE):
                coming.append(pool.submit(self._bucket.get_pieces, url, at, min(RANGE, size - at)))
                if len(coming) == SIDE_BY_SIDE:
                    yield from coming.popleft().result()
            while coming:
                yield from coming.popleft().result()


def gather(answer: LocationsAnswer) -> list[Wanted]:
    """Put objects together that lie close to each other, up to :data:`GATHERED` bytes."""
    found: list[Wanted] = []
    for one in sorted(answer.objects, key=lambda o: (o.source, o.start)):
        url = answer.sources[one.source].url
        last = found[-1] if found else None
        end = one.start + one.size
        if (
            last is not None
            and last.url == url
            and one.start <= last.start + last.size + GAP
            and end - last.start <= GATHERED
        ):
            size = max(last.size, end - last.start)
            last.objects.append(one)
            found[-1] = last._replace(size=size)
        else:
            found.append(Wanted(url, one.start, one.size, [one]))
    return found
