"""Reading the JSON of requests whose handlers manage their own transactions."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from nablahub.core.errors import Fault, Invalid, Malformed


def parse_json[T: BaseModel](kind: type[T], body: bytes, problem: str) -> T:
    """Read a body.

    Parameters
    ----------
    problem : str
        What is said of one that is JSON and says something else.

    Raises
    ------
    Malformed, Invalid
        When it is no JSON, or not of that type.
    """
    try:
        return kind.model_validate_json(body, strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "json_invalid":
            raise Malformed("The body is not JSON.", hint="Send a JSON object.") from error
        pointer = "".join(f"/{part}" for part in first["loc"])
        raise Invalid(problem, errors=[Fault(first["msg"], pointer)]) from error
