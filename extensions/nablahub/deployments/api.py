"""Deployments over the REST API, and predictions from them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import httpx

from nablahub.core.errors import NablaError, NotFound
from nablahub.core.transport import AWAY, Transport
from nablahub.core.yamlspec import load
from nablahub.deployments.types import Deployment, Key, NewKey, SpecVersion

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
#: States that stay until somebody changes something.
SETTLED = frozenset({"Running", "Failed", "Error", "Stopped"})


class PredictionFailed(NablaError):
    """The deployment answered a prediction with an error, or not at all."""

    code = "prediction_failed"
    title = "No prediction"


class DeploymentsAPI:
    """Deployments, as a client sees them."""

    def __init__(self, transport: Transport) -> None:
        self._hub = transport

    def list(self, project_id: str | None = None) -> Iterator[Deployment]:
        """Yield your deployments, newest first."""
        found = self._hub.pages("/deployments", project=project_id)
        return map(Deployment.model_validate, found)

    def get(self, ref: str, *, project_id: str | None = None) -> Deployment:
        """Return a deployment by its id or name; NotFound when you have none such."""
        if UUID.fullmatch(ref):
            return Deployment.model_validate(self._hub.get(f"/deployments/{ref}"))
        found = list(self._hub.pages("/deployments", name=ref, project=project_id))
        if len(found) == 1:
            return Deployment.model_validate(found[0])
        if found:
            raise NotFound(
                f"{len(found)} deployments are called {ref!r}.", hint="Give its id or its project."
            )
        raise NotFound(
            f"Deployment {ref!r} was not found.", hint="`nablahub deployments list` shows yours."
        )

    def create(self, project_id: str, spec: str | Mapping[str, Any]) -> Deployment:
        """Deploy a model; ``spec`` is YAML text or the spec itself."""
        body = {"project_id": project_id, "spec": spec}
        return Deployment.model_validate(self._hub.post("/deployments", body))

    def apply(self, project_id: str, spec: str | Mapping[str, Any]) -> Deployment:
        """Create the deployment of the spec's name, or roll the spec out where there is one."""
        data = load(spec).data if isinstance(spec, str) else spec
        name = data.get("name") if isinstance(data, Mapping) else None
        if isinstance(name, str):
            for item in self._hub.pages("/deployments", name=name, project=project_id):
                return self.change(Deployment.model_validate(item), spec=spec)
        return self.create(project_id, spec)

    def change(self, deployment: Deployment, **fields: Any) -> Deployment:
        """Change ``spec`` (whole), ``model``, ``replicas``, ``enabled`` … of what was read."""
        path = f"/deployments/{deployment.id}"
        changed = self._hub.patch(path, fields, revision=deployment.revision)
        return Deployment.model_validate(changed)

    def delete(self, deployment_id: str) -> None:
        """Delete a deployment."""
        self._hub.delete(f"/deployments/{deployment_id}")

    def specs(self, deployment_id: str) -> Iterator[SpecVersion]:
        """Yield the versions of its spec, newest first."""
        found = self._hub.pages(f"/deployments/{deployment_id}/specs")
        return map(SpecVersion.model_validate, found)

    def wait(
        self,
        deployment_id: str,
        *,
        seconds: float = 600,
        told: Callable[[Deployment], None] = lambda _: None,
    ) -> Deployment:
        """Wait until its latest spec runs, was given up, or is stopped.

        Parameters
        ----------
        seconds : float
            How long to wait at most; it is returned as it then is.
        told : callable
            Gets the deployment each time it is looked at.
        """
        end = time.monotonic() + seconds
        while True:
            found = self.get(deployment_id)
            told(found)
            done = found.serving_version == found.spec_version or found.reason == "rollout"
            if found.state in SETTLED and (done or found.state != "Running"):
                return found
            if time.monotonic() >= end:
                return found
            time.sleep(0.1)

    def create_key(self, deployment_id: str, name: str, *, expires_in: int | None = None) -> NewKey:
        """Make an API key; its text is shown only here. ``expires_in`` is in seconds."""
        body = {"name": name, "expires_in": expires_in}
        return NewKey.model_validate(self._hub.post(f"/deployments/{deployment_id}/keys", body))

    def keys(self, deployment_id: str) -> Iterator[Key]:
        """Yield its API keys."""
        return map(Key.model_validate, self._hub.pages(f"/deployments/{deployment_id}/keys"))

    def revoke_key(self, deployment_id: str, key_id: str) -> None:
        """Revoke an API key; within two seconds it opens nothing."""
        self._hub.delete(f"/deployments/{deployment_id}/keys/{key_id}")

    def predict(
        self, deployment: Deployment, key: str, request: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Send an Open Inference Protocol v2 request to a deployment and return its answer.

        While nobody is there to answer it is sent again, for about half a minute.

        Raises
        ------
        PredictionFailed
            With what the model server said.
        """
        base = httpx.URL(deployment.endpoint)
        url = base.copy_with(path=f"{base.path}/v2/models/{deployment.model_name}/infer")

        def silent(error: httpx.HTTPError) -> PredictionFailed:
            return PredictionFailed(
                f"{deployment.endpoint} did not answer: {error}.",
                hint=f"`nablahub deployments show {deployment.name}` says how it stands.",
            )

        def send() -> httpx.Response:
            try:
                return httpx.post(
                    url, json=request, headers={"Authorization": f"Bearer {key}"}, timeout=60,
                    trust_env=False,
                )  # fmt: skip
            except httpx.TimeoutException as error:  # It would take as long again.
                raise silent(error) from error

        try:
            answer = self._hub.patiently(send, away=lambda said: said.status_code in AWAY)
        except httpx.HTTPError as error:
            raise silent(error) from error
        if answer.status_code != 200:
            raise PredictionFailed(f"It answered {answer.status_code}: {_said(answer)}")
        found: dict[str, Any] = answer.json()
        return found


def _said(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
