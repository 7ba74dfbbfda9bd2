"""What can be wrong with a prediction request, with the status it is answered with."""

from collections.abc import Mapping


class ServingError(Exception):
    """A request that can't be answered; ``message`` says what, why and what to do.

    Parameters
    ----------
    message
        The sentence for the client.
    headers
        More response headers, such as ``Retry-After``.
    """

    status = 500

    def __init__(self, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.headers = dict(headers or {})


class BadRequest(ServingError):
    """The request's content is wrong: bad JSON, a wrong shape, an unknown tensor."""

    status = 400


class Unauthorized(ServingError):
    """No key, or one that is unknown, revoked or expired."""

    status = 401


class NotFound(ServingError):
    """No such route, model or version."""

    status = 404


class MethodNotAllowed(ServingError):
    """The route exists, but not for this method."""

    status = 405


class TooLarge(ServingError):
    """The body is larger than the server takes."""

    status = 413


class UnsupportedMedia(ServingError):
    """The body comes in an encoding that this server doesn't read."""

    status = 415


class ModelFailed(ServingError):
    """The model itself failed."""

    status = 500


class NotReady(ServingError):
    """The model is still loading, or the server is going down."""

    status = 503


class ModelError(Exception):
    """A model that can't be loaded; the message says what is wrong with its files."""
