"""Asks model servers whether they are ready, and tries samples through the public address."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import httpx

from nablahub.core.ids import new_secret
from nablahub.deployments.routes import CANARY_HEADER, VERSION_HEADER

SECONDS: Final = 10.0
#: In a made-up request.
MOST_VALUES: Final = 4_000_000
#: For a health check, which never waits for the model.
HEALTH_SECONDS: Final = 2.0


@dataclass(frozen=True)
class Outcome:
    """What came of a sample.

    Parameters
    ----------
    answered : bool
        The right version gave an answer.
    message : str
        What came instead.
    sample : dict or None
        The request that was answered.
    """

    answered: bool
    message: str = ""
    sample: dict[str, Any] | None = None


class Prober:
    """Speaks to model servers with a key of its own, made anew by each process of the service."""

    def __init__(self) -> None:
        self.key = new_secret("nhp_")
        self.canary_secret = new_secret("")
        self._http = httpx.AsyncClient(timeout=SECONDS, trust_env=False)

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def ready(self, address: str, name: str) -> bool:
        """Whether the server at ``host:port`` has loaded its model."""
        url = httpx.URL(f"http://{address}").copy_with(path=f"/v2/models/{name}/ready")
        try:
            answer = await self._http.get(
                url, headers={"X-API-Key": self.key}, timeout=HEALTH_SECONDS
            )
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    async def sample(
        self, endpoint: str, name: str, version: int, *, canary: bool, given: dict[str, Any] | None
    ) -> Outcome:
        """Send a sample to a deployment's public address.

        Parameters
        ----------
        endpoint : str
            The address, such as ``http://127.0.0.1:8000/deployments/<id>``.
        version : int
            The spec version that must answer.
        canary : bool
            Take the way to the servers that have no traffic yet.
        given : dict or None
            The request; None makes one of zeros from the model's metadata.
        """
        headers = {"X-API-Key": self.key}
        if canary:
            headers[CANARY_HEADER] = self.canary_secret
        base = httpx.URL(endpoint)
        model = base.copy_with(path=f"{base.path}/v2/models/{name}")
        invented = given is None
        try:
            if given is None:
                metadata = await self._http.get(model, headers=headers)
                problem = _problem(metadata, version)
                if problem:
                    return Outcome(False, problem)
                given = invent(metadata.json())
            if given is None:
                return Outcome(True)
            infer = base.copy_with(path=f"{base.path}/v2/models/{name}/infer")
            answer = await self._http.post(infer, headers=headers, json=given)
        except httpx.HTTPError as error:
            return Outcome(False, f"{endpoint} does not answer: {type(error).__name__} {error}")
        if invented and answer.status_code == 400 and _open_shape(given):
            # Only the model knows what fits it, and it has answered in words.
            return Outcome(answer.headers.get(VERSION_HEADER) == str(version))
        problem = _problem(answer, version)
        return Outcome(not problem, problem, None if problem else given)


def invent(metadata: dict[str, Any]) -> dict[str, Any] | None:
    """Make a request of zeros, one row, from a model's V2 metadata.

    None when it declares no inputs, or ones so large that a request would be refused for its size.
    """
    tensors = []
    left = MOST_VALUES
    for spec in metadata["inputs"]:
        shape = [1 if size < 0 else size for size in spec["shape"]]
        count = math.prod(shape)
        left -= count
        if left < 0:
            return None
        zero: Any = {"BYTES": "", "BOOL": False}.get(spec["datatype"], 0)
        tensors.append(
            {"name": spec["name"], "datatype": spec["datatype"], "shape": shape,
             "data": [zero] * count}
        )  # fmt: skip
    return {"inputs": tensors} if tensors else None


def _open_shape(request: dict[str, Any]) -> bool:
    """Whether a made-up request had to guess more than the number of rows."""
    return any(len(tensor["shape"]) < 2 or 1 in tensor["shape"][1:] for tensor in request["inputs"])


def _problem(answer: httpx.Response, version: int) -> str:
    """Say what is wrong with an answer; empty when nothing is."""
    came_from = answer.headers.get(VERSION_HEADER)
    if came_from != str(version):
        return f"The public address answers {answer.status_code} from somewhere else."
    if answer.status_code == 200:
        return ""
    try:
        said = str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        said = answer.text[:200]
    return f"The sample was answered by {answer.status_code}: {said}"
