"""The few requests that the runner makes of a cluster, on objects that are plain JSON.

https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final

import aiohttp
from kubernetes_asyncio import client, config

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.jobs.runners.kubernetes.events import PodEvents

type Object = dict[str, Any]

#: Where objects of a kind lie: the API's group, and their name in paths.
_PATHS: Final = {
    "Pod": ("/api/v1", "pods"),
    "Secret": ("/api/v1", "secrets"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Service": ("/api/v1", "services"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "Event": ("/api/v1", "events"),
    "NetworkPolicy": ("/apis/networking.k8s.io/v1", "networkpolicies"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"),
    "SeldonDeployment": ("/apis/machinelearning.seldon.io/v1", "seldondeployments"),
}
_MERGE: Final = "application/merge-patch+json"
_GOODBYE_SECONDS: Final = 0.25
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30, sock_connect=10)
#: The server ends a watch after that; a connection that died unseen is found out a little later.
_WATCH_SECONDS: Final = 240
_WATCH_TIMEOUT: Final = aiohttp.ClientTimeout(
    total=None, sock_connect=10, sock_read=_WATCH_SECONDS + 30
)


class ApiError(Exception):
    """The cluster said no.

    Parameters
    ----------
    status
        HTTP's.
    message
        What the cluster says about it.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Expired(Exception):
    """The cluster does not remember so far back (410): list anew."""


#: What a cluster that is away, or is just being restarted, makes of a request.
Away = (aiohttp.ClientError, OSError, TimeoutError)


class Api:
    """Requests on one namespace.

    Parameters
    ----------
    settings
        Which cluster, and which namespace.
    """

    def __init__(self, settings: KubernetesSettings) -> None:
        self._settings = settings
        self._client: client.ApiClient | None = None
        self._connecting = asyncio.Lock()
        #: What the cluster tells of pods.
        self.events = PodEvents(self)

    async def connect(self) -> None:
        """Read how to reach the cluster; nothing is sent yet."""
        async with self._connecting:
            if self._client is not None:
                return
            found = client.Configuration()
            if self._settings.kubeconfig is not None:
                path = str(self._settings.kubeconfig)
                await config.load_kube_config(path, client_configuration=found)
            else:
                config.load_incluster_config(client_configuration=found)
            self._client = client.ApiClient(found)

    async def close(self) -> None:
        """Close all connections."""
        await self.events.close()
        if self._client is not None:
            await self._client.close()
            self._client = None
            # TLS says goodbye after that, and nothing tells when it has:
            # https://docs.aiohttp.org/en/stable/client_advanced.html#graceful-shutdown
            await asyncio.sleep(_GOODBYE_SECONDS)

    async def get(self, kind: str, name: str) -> Object | None:
        """Return an object; None when there is none of that name."""
        try:
            return await self._ask("GET", kind, name)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    async def serves(self, kind: str) -> bool:
        """Whether the cluster knows objects of a kind."""
        group, plural = _PATHS[kind]
        answer = await self._send("GET", group)
        async with answer:
            if answer.status == 404:
                return False
            text = await answer.text()
            if answer.status >= 300:
                raise ApiError(answer.status, text[:500])
            return any(each["name"] == plural for each in json.loads(text)["resources"])

    async def nodes(self) -> list[Object] | None:
        """Return the cluster's nodes; None when we may not list them."""
        try:
            answer = await self._ask_at("GET", "/api/v1/nodes", query={"resourceVersion": "0"})
        except ApiError as error:
            if error.status != 403:
                raise
            return None
        found: list[Object] = answer["items"]
        return found

    async def list(self, kind: str, selector: str, *, fields: str = "") -> tuple[list[Object], str]:
        """Return all objects with some labels, and the version from which to watch them."""
        query = {"labelSelector": selector, "fieldSelector": fields}
        found = await self._ask("GET", kind, query=query)
        return found["items"], found["metadata"]["resourceVersion"]

    async def create(self, made: Object) -> bool:
        """Make an object; False when there is one of that name."""
        try:
            await self._ask("POST", made["kind"], body=made)
        except ApiError as error:
            if error.status == 409:
                return False
            raise
        return True

    async def patch(self, kind: str, name: str, change: Object) -> bool:
        """Change an object by a merge patch (RFC 7386); False when there is none of that name."""
        try:
            await self._ask("PATCH", kind, name, body=change, content=_MERGE)
        except ApiError as error:
            if error.status == 404:
                return False
            raise
        return True

    async def delete(self, kind: str, name: str, *, grace_seconds: int | None = None) -> None:
        """Delete an object and what it owns; nothing happens when it is not there."""
        options: Object = {"propagationPolicy": "Background"}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        try:
            await self._ask("DELETE", kind, name, body=options)
        except ApiError as error:
            if error.status != 404:
                raise

    async def version(self) -> str:
        """Return the cluster's version, such as v1.34.4."""
        return str((await self._ask_at("GET", "/version"))["gitVersion"])

    async def may(self, verb: str, group: str, resource: str) -> bool:
        """Whether we may do something in the namespace.

        https://kubernetes.io/docs/reference/kubernetes-api/authorization-resources/self-subject-access-review-v1/
        """
        asked = {
            "namespace": self._settings.namespace, "verb": verb, "group": group,
            "resource": resource,
        }  # fmt: skip
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        return bool((await self._ask_at("POST", path, body=review))["status"]["allowed"])

    async def watch(
        self, kind: str, selector: str, version: str, *, fields: str = ""
    ) -> AsyncGenerator[tuple[str, Object]]:
        """Yield changes (ADDED, MODIFIED, DELETED, BOOKMARK) until the cluster ends the watch.

        Raises
        ------
        Expired
            The version is too old.
        """
        query = {
            "labelSelector": selector,
            "fieldSelector": fields,
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        answer = await self._send("GET", self._path(kind), query=query, timeout=_WATCH_TIMEOUT)
        try:
            if answer.status == 410:
                raise Expired
            if answer.status >= 300:
                raise ApiError(answer.status, (await answer.text())[:500])
            rest = b""
            async for data in answer.content.iter_any():
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    event = json.loads(line)
                    if event["type"] == "ERROR":
                        if event["object"].get("code") == 410:
                            raise Expired
                        raise ApiError(event["object"].get("code", 0), str(event["object"]))
                    yield event["type"], event["object"]
        finally:
            # Not by TLS's goodbye, which nobody waits for: it may outlive the event loop.
            if answer.connection is not None and answer.connection.transport is not None:
                answer.connection.transport.abort()
            answer.close()

    def _path(self, kind: str, name: str = "") -> str:
        group, plural = _PATHS[kind]
        path = f"{group}/namespaces/{self._settings.namespace}/{plural}"
        return f"{path}/{name}" if name else path

    async def _ask(
        self,
        method: str,
        kind: str,
        name: str = "",
        *,
        body: Object | None = None,
        query: dict[str, str] | None = None,
        content: str = "application/json",
    ) -> Object:
        path = self._path(kind, name)
        return await self._ask_at(method, path, body=body, query=query, content=content)

    async def _ask_at(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: dict[str, str] | None = None,
        content: str = "application/json",
    ) -> Object:
        answer = await self._send(method, path, body=body, query=query, content=content)
        async with answer:
            text = await answer.text()
            found: Object = {}
            with suppress(ValueError):
                found = json.loads(text)
            if answer.status >= 300:
                raise ApiError(answer.status, str(found.get("message", text[:500])))
            return found

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: Object | None = None,
        query: dict[str, str] | None = None,
        content: str = "application/json",
        timeout: aiohttp.ClientTimeout = _TIMEOUT,
    ) -> aiohttp.ClientResponse:
        assert self._client is not None, "not connected"
        answer: aiohttp.ClientResponse = await self._client.call_api(
            path, method, query_params=list((query or {}).items()), body=body,
            header_params={"Accept": "application/json", "Content-Type": content},
            auth_settings=["BearerToken"], _preload_content=False, _request_timeout=timeout,
        )  # fmt: skip
        return answer
