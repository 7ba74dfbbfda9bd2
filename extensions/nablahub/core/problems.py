"""From a problem document of the API to the error it stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nablahub.core import errors

if TYPE_CHECKING:
    import httpx


def problem(response: httpx.Response) -> errors.NablaError:
    """Turn a problem document (RFC 9457) into the error it stands for."""
    try:
        document = response.json()
        if not isinstance(document, dict) or "code" not in document:
            raise ValueError(document)
    except ValueError:
        root, api, _ = str(response.url).partition("/api/v1")
        if api and not root.endswith("/services/nablahub"):
            return errors.Unavailable(
                f"What answers at {root} is no NablaHub service ({response.status_code} "
                f"{response.reason_phrase}).",
                hint="Its address ends in /services/nablahub: correct NABLAHUB_URL.",
            )
        return errors.Unavailable(
            f"The hub answered {response.status_code} {response.reason_phrase} without a reason.",
            hint="Look at its log, or try again.",
        )
    cls = errors.tree().get(document["code"]) or _by_status(response.status_code)
    faults = [
        errors.Fault(
            message=fault.get("message", ""), pointer=fault.get("pointer", ""),
            line=fault.get("line"), column=fault.get("column"), hint=fault.get("hint", ""),
        )
        for fault in document.get("errors", [])
    ]  # fmt: skip
    found = cls.__new__(cls)
    errors.NablaError.__init__(
        found, document.get("detail", ""), hint=document.get("hint", ""), errors=faults
    )
    if cls.code != document["code"]:
        found.code = document["code"]  # type: ignore[misc]  # an extension's code, unknown here
    return found


def _by_status(status: int) -> type[errors.NablaError]:
    table: dict[int, type[errors.NablaError]] = {
        400: errors.Malformed, 401: errors.Unauthenticated, 403: errors.Forbidden,
        404: errors.NotFound, 409: errors.Conflict, 412: errors.PreconditionFailed,
        413: errors.TooLarge, 422: errors.Invalid, 428: errors.PreconditionRequired,
        503: errors.Unavailable, 507: errors.StorageFull,
    }  # fmt: skip
    return table.get(status, errors.NablaError)
