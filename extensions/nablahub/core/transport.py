"""The one HTTP client of every face: finds the hub, retries safely, turns problems into errors."""

from __future__ import annotations

import itertools
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast
from urllib.parse import urlsplit

if "httpx" not in sys.modules:
    # httpx's own command line loads rich and pygments, which takes longer than all the rest of it;
    # it does without when it can't be imported.
    sys.modules["httpx._main"] = cast("ModuleType", None)
    import httpx

    del sys.modules["httpx._main"]
else:
    import httpx

from nablahub.core import errors
from nablahub.core.bodies import sized
from nablahub.core.problems import problem
from nablahub.core.state import StateDir, default_state_dir

API = "/api/v1"
#: Where the service is at the address that people open.
SERVICE = "/services/nablahub"
#: About half a minute in all: a part that died under load takes some seconds to come back.
TRIES = 14
#: About three seconds, as long as nothing ever answered: then there may be no hub at all.
TRIES_UNMET = 6
FIRST_WAIT = 0.1
#: Where a hub is this machine's own.
HERE = ("127.0.0.1", "localhost", "::1")
#: A proxy answers these while the service behind it comes back, and the service with these codes.
AWAY = (502, 503, 504)
COMING_BACK = ("unavailable", "no_leader")


def once(key: str | None = None) -> dict[str, str]:
    """Return the header with which a request that is sent again is done once."""
    return {"Idempotency-Key": key or secrets.token_urlsafe(18)}


class NoHub(errors.NablaError):
    """There is no hub to talk to."""

    code = "no_hub"
    title = "No hub"


@dataclass(frozen=True)
class ServerEvent:
    """A server-sent event: its id (to resume after it) and its data."""

    id: str
    data: dict[str, Any]
    event: str = "message"


class Transport:
    """Speaks the REST API as one user.

    Parameters
    ----------
    url : str
        The service's root, such as ``http://127.0.0.1:8000/services/nablahub``.
    token : str
        A hub token, or a run's.
    timeout : float
        Seconds to wait for an answer to begin.
    tries : int
        How often a request is sent in all while the hub is away; a POST carries one
        Idempotency-Key through all of them.
    """

    def __init__(self, url: str, token: str, *, timeout: float = 60, tries: int = TRIES) -> None:
        self.url = url.rstrip("/")
        self.token = token
        self._tries = tries
        self._met = False
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {token}", "User-Agent": "nablahub"},
            timeout=httpx.Timeout(timeout, connect=10),
            trust_env=False,
            # Reading the certificates takes longer than most commands: not for plain HTTP.
            verify=self.url.startswith("https:"),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Transport:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def get(self, path: str, **params: Any) -> Any:
        """GET a path below ``/api/v1`` and return its JSON."""
        return self.request("GET", path, params=params)

    def post(self, path: str, body: Any = None, *, key: str | None = None) -> Any:
        """POST JSON; ``key`` is the Idempotency-Key, a random one by default."""
        return self.request("POST", path, body=body, headers=once(key))

    def put(self, path: str, body: Any = None) -> Any:
        """PUT JSON."""
        return self.request("PUT", path, body=body)

    def patch(self, path: str, body: Any, *, revision: int) -> Any:
        """PATCH as a merge patch (RFC 7396) of the revision that was read."""
        return self.request("PATCH", path, body=body, headers={"If-Match": f'"{revision}"'})

    def delete(self, path: str, *, revision: int | None = None) -> Any:
        """DELETE, of the revision that was read when one is given."""
        headers = {} if revision is None else {"If-Match": f'"{revision}"'}
        return self.request("DELETE", path, headers=headers)

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Yield all items of a list, page by page."""
        cursor: str | None = None
        while True:
            page = self.get(path, cursor=cursor, **params)
            yield from page["items"]
            cursor = page["next"]
            if cursor is None:
                return

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        content: bytes | Sequence[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request and return its JSON, text or None (204).

        Parameters
        ----------
        content : bytes or sequence of bytes or None
            The body, whole or in parts that follow each other.

        Raises
        ------
        nablahub.core.errors.NablaError
            The class that belongs to the problem's code.
        """
        if body is not None:
            content = json.dumps(body).encode()
            headers = {"Content-Type": "application/json", **(headers or {})}
        response = self._send(method, self.resolve(path), params, content, headers)
        if response.is_error or response.is_redirect:
            raise self._problem(response)
        if response.status_code == 204 or not response.content:
            return None
        if "json" in response.headers.get("content-type", ""):
            return response.json()
        return response.content

    def resolve(self, path: str) -> str:
        """Return the whole URL of a path below ``/api/v1``, or of ``//path`` below the root."""
        return self.url + (path[1:] if path.startswith("//") else API + path)

    def _send(
        self,
        method: str,
        url: str,
        params: Mapping[str, Any] | None,
        content: bytes | Sequence[bytes] | None,
        headers: Mapping[str, str] | None,
    ) -> httpx.Response:
        body, headers = sized(content, headers)
        known = {k: v for k, v in (params or {}).items() if v is not None}
        try:
            return self.patiently(
                lambda: self._http.request(method, url, params=known, content=body, headers=headers)
            )
        except httpx.TransportError as error:
            raise self._away(error) from error

    def patiently(
        self,
        send: Callable[[], httpx.Response],
        *,
        away: Callable[[httpx.Response], bool] | None = None,
        tries: int | None = None,
    ) -> httpx.Response:
        """Send what may be sent again, while the hub is away; for about half a minute.

        Parameters
        ----------
        send : callable
            Sends it once.
        away : callable or None
            Whether an answer says that nobody was there; by default what a proxy or the service
            says of itself.
        tries : int or None
            How often in all; None: as the transport was told.

        Raises
        ------
        httpx.TransportError
            That of the last try.
        """
        most = self._tries if tries is None else tries
        away = away or _is_away
        wait = FIRST_WAIT
        for sent in itertools.count(1):
            try:
                response = send()
            except httpx.TransportError:
                if sent >= (most if self._met else min(most, TRIES_UNMET)):
                    raise
            else:
                self._met = True
                if sent >= most or not away(response):
                    return response
                response.close()
            time.sleep(wait)
            wait = min(wait * 2, 3)
        raise AssertionError("unreachable")

    def _away(self, error: Exception) -> errors.Unavailable:
        hint = "Is it running, and reached from here? Check NABLAHUB_URL."
        if isinstance(error, httpx.UnsupportedProtocol):
            hint = "Check NABLAHUB_URL: an address begins with https:// or http://."
        elif urlsplit(self.url).hostname in HERE:
            hint = "Is it running? `nablahub status` tells; `nablahub up` starts it."
        return errors.Unavailable(
            f"The hub at {self.url} does not answer ({str(error) or type(error).__name__}).",
            hint=hint,
        )

    def _problem(self, response: httpx.Response) -> errors.NablaError:
        found = problem(response)
        if isinstance(found, errors.Unauthenticated):  # The service speaks of headers.
            found.hint = f"Make a token at {_token_page(self.url)} and set NABLAHUB_TOKEN to it."
        return found

    @contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: Any = None,
        headers: Mapping[str, str] | None = None,
        tries: int | None = None,
    ) -> Iterator[httpx.Response]:
        """Send one request, body and answer as streams.

        Parameters
        ----------
        tries : int or None
            How often it is sent in all until an answer begins; None: as all requests when it only
            reads, else once, for a body that streams is gone when it was sent.
        """
        known = {k: v for k, v in (params or {}).items() if v is not None}
        if method not in ("GET", "HEAD"):
            tries = 1
        if isinstance(content, bytes):
            content, headers = sized(content, headers)

        def send() -> httpx.Response:
            request = self._http.build_request(
                method, self.resolve(path), params=known, content=content, headers=headers
            )
            response = self._http.send(request, stream=True)
            if response.is_error or response.is_redirect:
                response.read()
            return response

        try:
            with closing(self.patiently(send, tries=tries)) as response:
                if response.is_error or response.is_redirect:
                    raise self._problem(response)
                yield response
        except httpx.TransportError as error:
            raise self._away(error) from error

    def events(
        self, path: str = "/events", *, last_id: str | None = None, **params: Any
    ) -> Generator[ServerEvent]:
        """Yield server-sent events up to one named `end`; connects again where it was cut.

        None is missed.

        Raises
        ------
        Unavailable
            When the hub stays away for longer than the retries.
        """
        failures = 0
        ended = False
        while True:
            headers = {"Accept": "text/event-stream"}
            if last_id is not None:
                headers["Last-Event-ID"] = last_id
            try:
                with self.stream("GET", path, params=params, headers=headers, tries=1) as response:
                    if "event-stream" not in response.headers.get("content-type", ""):
                        response.read()  # Something else answers in the hub's place.
                        raise self._problem(response)
                    failures = 0
                    for event in parse_sse(response.iter_lines()):
                        last_id = event.id or last_id
                        ended = event.event == "end"
                        yield event
                    if ended:  # Read to its end: the connection can then be used again.
                        return
            except errors.Unavailable:
                failures += 1
                if failures >= self._tries + 4:
                    raise
            # After an orderly end, too: whoever ends each answer at once is not asked all the time.
            time.sleep(min(FIRST_WAIT * 2**failures, 3))


def parse_sse(lines: Iterator[str]) -> Iterator[ServerEvent]:
    """Parse a ``text/event-stream`` (WHATWG HTML, 9.2); yields events that carry data or a name."""
    identifier, name, data = "", "message", list[str]()
    for line in lines:
        if not line:
            if data or name != "message":
                yield ServerEvent(identifier, json.loads("\n".join(data) or "{}"), name)
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            data.append(value)
        elif field == "id":
            identifier = value
        elif field == "event":
            name = value


def _is_away(response: httpx.Response) -> bool:
    """Whether a proxy says that the service is away, or the service that the hub is."""
    if "problem+json" in response.headers.get("content-type", ""):
        # Other codes are worth showing at once.
        return response.status_code in AWAY and response.json().get("code") in COMING_BACK
    # Traefik listens a moment before it has read its routes, and has the hub's, which sends people
    # to their servers, before the service's. The service itself redirects nobody.
    unread = response.status_code == 404 and response.text.strip() == "404 page not found"
    return unread or response.is_redirect or response.status_code in AWAY


def _token_page(url: str) -> str:
    return f"{url.rstrip('/').removesuffix(SERVICE)}/hub/token"


def connect(
    url: str | None = None, token: str | None = None, *, state: StateDir | None = None
) -> Transport:
    """Find the hub and return a transport to it.

    Looked at in this order: the arguments; ``NABLAHUB_URL`` and ``NABLAHUB_TOKEN`` (or a
    server's ``JUPYTERHUB_API_TOKEN``); the local hub's ``run/client.json`` in the state folder.
    An address without a path, as people open it in their browser, stands for the service there.

    Raises
    ------
    NoHub
        When none of them names a hub.
    """
    env = os.environ
    url = url or env.get("NABLAHUB_URL")
    if url and urlsplit(url).path in ("", "/"):
        url = url.rstrip("/") + SERVICE
    token = token or env.get("NABLAHUB_TOKEN") or env.get("JUPYTERHUB_API_TOKEN")
    if url and token:
        return Transport(url, token)
    file = (state or StateDir(default_state_dir())).client
    found = json.loads(file.read_text()) if file.exists() else {}
    # The local hub's token is no other hub's affair.
    token = token or (found.get("token") if url in (None, found.get("url")) else None)
    url = url or found.get("url")
    if url and token:
        return Transport(url, token)
    if url:
        raise NoHub("NABLAHUB_TOKEN is not set.", hint=f"Make a token at {_token_page(url)}.")
    raise NoHub(
        "No hub is known here.",
        hint="Start one with `nablahub up`, or set NABLAHUB_URL and NABLAHUB_TOKEN.",
    )
