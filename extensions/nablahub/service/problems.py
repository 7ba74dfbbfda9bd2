"""The one table from errors to HTTP; the body is a problem document (RFC 9457)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from nablahub.core import errors
from nablahub.core.errors import Fault, Invalid, Malformed, NablaError

CONTENT_TYPE: Final = "application/problem+json"


class NoSuchRoute(errors.NotFound):
    """There is no such path."""

    code = "no_such_route"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"There is nothing at {path}.", hint="The OpenAPI document lists the paths."
        )


class NoDeploymentThere(errors.NotFound):
    """No deployment has that address."""

    code = "no_deployment_there"

    def __init__(self, path: str) -> None:
        super().__init__(
            f"No deployment has the address {path}: it was deleted, or the address is wrong.",
            hint="`nablahub deployments list` shows yours, `nablahub deployments show NAME` the "
            "endpoint of one.",
        )


class NoSuchMethod(NablaError):
    """The path is there, but not for this method."""

    code = "no_such_method"
    title = "Method not allowed"

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(f"This path takes {', '.join(allowed)}, not {method}.")
        self.allowed = tuple(allowed)


#: The nearest class in an error's ancestry decides.
STATUS: Final[dict[type[NablaError], int]] = {
    errors.NablaError: 500,
    errors.Malformed: 400,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    NoSuchMethod: 405,
    errors.Conflict: 409,
    errors.PreconditionFailed: 412,
    errors.TooLarge: 413,
    errors.QuotaExceeded: 413,
    errors.Invalid: 422,
    errors.PreconditionRequired: 428,
    errors.Unavailable: 503,
    errors.StorageFull: 507,
}


def status_of(error: NablaError) -> int:
    """Return the HTTP status of an error."""
    return next(STATUS[cls] for cls in type(error).__mro__ if cls in STATUS)


def document(error: NablaError) -> dict[str, Any]:
    """Return the problem document of an error."""
    found: dict[str, Any] = {
        "type": f"urn:nablahub:problem:{error.code}",
        "title": error.title,
        "status": status_of(error),
        "detail": error.detail,
        "code": error.code,
    }
    if error.hint:
        found["hint"] = error.hint
    if error.errors:
        found["errors"] = [fault.as_dict() for fault in error.errors]
    return found


def from_validation(error: ValidationError, where: str) -> NablaError:
    """Turn pydantic's faults into ours.

    Parameters
    ----------
    error : pydantic.ValidationError
        What did not fit.
    where : str
        ``"body"`` or ``"query"``, for the sentence.
    """
    details = error.errors(include_url=False)
    if len(details) == 1 and details[0]["type"] == "json_invalid":
        return Malformed(f"The body is not JSON: {details[0]['ctx']['error']}.")
    faults = [
        Fault(
            message=_sentence(detail["msg"]),
            pointer="".join(f"/{_escape(part)}" for part in detail["loc"]),
            hint=_hint(detail["type"]),
        )
        for detail in details
    ]
    count = "One field" if len(faults) == 1 else f"{len(faults)} fields"
    return Invalid(f"{count} of the {where} cannot be accepted.", errors=faults)


def _sentence(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message if message.endswith(".") else f"{message}."


def _hint(kind: str) -> str:
    return "The OpenAPI document lists the known fields." if kind == "extra_forbidden" else ""


def _escape(part: int | str) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")
