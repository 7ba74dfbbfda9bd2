"""The routes of the model server, and who may use them."""

import logging
from collections.abc import Callable, Mapping

from nablahub.serving import seldon
from nablahub.serving.errors import MethodNotAllowed, NotFound, ServingError, Unauthorized
from nablahub.serving.host import ModelHost
from nablahub.serving.keys import Keys
from nablahub.serving.messages import Request, Response, dump
from nablahub.serving.seldon import Seldon
from nablahub.serving.tensors import quoted
from nablahub.serving.v2 import V2, not_this_model

log = logging.getLogger(__name__)
type Handler = Callable[[Request], Response]

LARGE_BODY = 64 * 1024
SELDON_PREFIX = "/api/"


class Application:
    """Turns a request into a response; it never raises.

    Parameters
    ----------
    host
        The model.
    keys
        The keys that open it: every route needs one, health included.
    """

    def __init__(self, host: ModelHost, keys: Keys) -> None:
        self._host = host
        self._keys = keys
        v2, old = V2(host), Seldon(host)
        routes: dict[str, dict[str, Handler]] = {
            "/v2": {"GET": v2.server},
            "/v2/health/live": {"GET": v2.live},
            "/v2/health/ready": {"GET": v2.ready},
            "/api/v1.0/predictions": {"POST": old.predictions},
            "/api/v0.1/predictions": {"POST": old.predictions},
        }
        base = f"/v2/models/{host.name}"
        for prefix in (base, f"{base}/versions/{host.version}"):
            routes[prefix] = {"GET": v2.metadata}
            routes[f"{prefix}/ready"] = {"GET": v2.model_ready}
            routes[f"{prefix}/infer"] = {"POST": v2.infer}
        self._routes = routes

    def admit(self, headers: Mapping[bytes, bytes]) -> Response | None:
        """Return the refusal of a request without a valid key, before its body is read."""
        secret = _secret(headers)
        if secret is None:
            message = "this address needs an API key; send it as 'Authorization: Bearer <key>'"
        elif self._keys.find(secret) is None:
            message = "this API key is unknown, expired or revoked; make a new one"
        else:
            return None
        error = Unauthorized(message, {"WWW-Authenticate": "Bearer"})
        return Response(error.status, dump({"error": error.message}), error.headers)

    def slow(self, request: Request) -> bool:
        """Whether answering takes so long that a thread should do it."""
        return request.method == "POST" and (self._host.slow or len(request.body) > LARGE_BODY)

    def handle(self, request: Request) -> Response:
        """Answer an admitted request."""
        try:
            return self._handler(request)(request)
        except ServingError as error:
            return self._failure(request, error)
        except Exception:
            # The edge: a fault of ours must not end the connection of other clients.
            log.exception("%s %s failed", request.method, request.path)
            said = ServingError("the model server has a fault; its log says more")
            return self._failure(request, said)

    def _handler(self, request: Request) -> Handler:
        path = request.path if len(request.path) == 1 else request.path.rstrip("/")
        methods = self._routes.get(path)
        if methods is None:
            raise self._unknown(path)
        method = "GET" if request.method == "HEAD" else request.method
        handler = methods.get(method)
        if handler is None:
            allowed = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
            raise MethodNotAllowed(
                f"{request.method} is not allowed here, only {allowed}", {"Allow": allowed}
            )
        return handler

    def _unknown(self, path: str) -> NotFound:
        parts = path.split("/")
        if parts[1:3] == ["v2", "models"] and len(parts) > 3:
            if parts[3] != self._host.name:
                return not_this_model(self._host.name, parts[3])
            if parts[4:5] == ["versions"] and len(parts) > 5 and parts[5] != self._host.version:
                return NotFound(
                    f"no version {quoted(parts[5])} of {quoted(self._host.name)} here; "
                    f"this server serves {quoted(self._host.version)}"
                )
        return NotFound(
            f"there is nothing at {quoted(path)}; predictions go to "
            f"/v2/models/{self._host.name}/infer or /api/v1.0/predictions"
        )

    @staticmethod
    def _failure(request: Request, error: ServingError) -> Response:
        if request.path.startswith(SELDON_PREFIX):
            return Response(error.status, seldon.failure(error), error.headers)
        return Response(error.status, dump({"error": error.message}), error.headers)


def _secret(headers: Mapping[bytes, bytes]) -> str | None:
    given = headers.get(b"authorization")
    if given is not None:
        scheme, _, rest = given.strip().partition(b" ")
        return rest.strip().decode("latin-1") if scheme.lower() == b"bearer" else ""
    given = headers.get(b"x-api-key")
    return None if given is None else given.strip().decode("latin-1")
