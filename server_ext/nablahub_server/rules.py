"""What may pass between Lab and the service: paths, queries and headers. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

PREFIX = "/nablahub/api/"

# Everything else stays behind, above all cookies and the browser's own authorization.
REQUEST_HEADERS = (
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Content-Digest",
    "Content-Encoding",
    "Content-Length",
    "Content-Type",
    "Idempotency-Key",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "Last-Event-ID",
    "Prefer",
    "Range",
)
# RFC 9110, 7.6.1, and what speaks of the connection to the service rather than of the answer.
NOT_RETURNED = frozenset(
    {
        "connection",
        "date",
        "keep-alive",
        "location",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "server",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "www-authenticate",
        "content-security-policy",
        "x-content-type-options",
    }
)
# Sign in to Jupyter itself; the service must not see them.
JUPYTER_ARGUMENTS = frozenset({"token", "_xsrf"})


def inner_path(request_path: str) -> str | None:
    """Cut the service's path out of a request's path, still percent-encoded.

    Returns ``None`` for a path that could leave the API's own: ``.`` and ``..`` segments in any
    encoding, backslashes and control characters.
    """
    _, found, rest = request_path.partition(PREFIX)
    if not found:
        return None
    for text in (rest, unquote(rest), unquote(unquote(rest))):
        if "\\" in text or any(ord(character) < 32 for character in text):
            return None
        if any(segment in (".", "..") for segment in text.split("/")):
            return None
    return rest.lstrip("/")


def inner_query(query: str) -> str:
    """Drop the arguments that are meant for the Jupyter server."""
    pairs = parse_qsl(query, keep_blank_values=True)
    return urlencode([(name, value) for name, value in pairs if name not in JUPYTER_ARGUMENTS])


def returned_headers(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Keep the headers of an answer that may go on to the browser."""
    pairs = list(headers)
    named = {
        name.strip().lower()
        for key, value in pairs
        if key.lower() == "connection"
        for name in value.split(",")
    }
    dropped = NOT_RETURNED | named
    return [(key, value) for key, value in pairs if key.lower() not in dropped]


def returned_location(location: str, service_url: str, base_url: str) -> str | None:
    """Translate a ``Location`` inside the service's API to one inside this server.

    ``None`` when it points anywhere else: a browser must not be sent there by us.
    """
    target, service = urlsplit(location), urlsplit(service_url)
    api = f"{service.path}/api/v1/"
    elsewhere = target.netloc and target.netloc != service.netloc
    if elsewhere or not target.path.startswith(api):
        return None
    query = f"?{target.query}" if target.query else ""
    return f"{base_url.rstrip('/')}{PREFIX}{target.path.removeprefix(api)}{query}"


def content_policy(policy: str) -> str:
    """Choose the Content-Security-Policy of an answer.

    Answers can be what users wrote, and this server's origin holds its owner's session: so the
    service's own policy is kept only when it is a sandbox, and is one otherwise.
    """
    words = [part.split()[0] for part in policy.split(";") if part.strip()]
    return policy if "sandbox" in words else "default-src 'none'; sandbox; frame-ancestors 'none'"
