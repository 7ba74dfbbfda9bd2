"""A request and a response, as the HTTP layer and the routes hand them to each other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from nablahub.serving.errors import BadRequest

# What a model answers is data of its user's: no browser may run it in the hub's name.
SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox allow-scripts",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request.

    Parameters
    ----------
    method
        In capitals.
    path
        Percent-decoded, without the query.
    headers
        Values by lower-case name.
    body
        As sent.
    """

    method: str
    path: str
    headers: Mapping[bytes, bytes]
    body: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """One HTTP response; the HTTP layer adds length, date and connection."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


def dump(value: Any) -> bytes:
    """Write JSON; numpy arrays in it become arrays, NaN and infinity become null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def load_object(body: bytes) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    BadRequest
        The body isn't one; the message has the line and the column.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(
            f"the body is not valid JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    if not isinstance(value, dict):
        raise BadRequest("the body must be a JSON object")
    return value
