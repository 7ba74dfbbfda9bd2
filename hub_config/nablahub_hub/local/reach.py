"""Looks whether we may use a cluster, and whether its pods and we reach each other.

A pod that lives for seconds asks our ports while we ask it; both must be answered.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from typing import Any

from kubernetes_asyncio.config import ConfigException
from ruamel.yaml.error import YAMLError

from nablahub.core.kubernetes import KubernetesSettings
from nablahub.core.nodes import Node
from nablahub.jobs.runners.kubernetes.api import Api, ApiError, Away, Expired
from nablahub.jobs.runners.kubernetes.pod import PORT
from nablahub.jobs.runners.kubernetes.rights import APART, RIGHTS
from nablahub.jobs.runners.kubernetes.verdict import see
from nablahub_hub.local import sockets, web
from nablahub_hub.local.clusters import ClusterUnfit, Ports
from nablahub_hub.local.reach_pod import PATIENCE, labels, reach_pod
from nablahub_spawner.kubernetes.settings import RIGHTS as SERVERS_RIGHTS

type Object = dict[str, Any]

#: Seconds until the cluster's API has answered, and until the pod runs: its image may be pulled.
API_PATIENCE = 15.0
POD_PATIENCE = 300.0


async def examine(
    settings: KubernetesSettings, ports: Ports, servers: bool, say: Callable[[str], None]
) -> tuple[str, list[Node] | None]:
    """Look at all of it and return the cluster's version, and its nodes where we may list them.

    Parameters
    ----------
    settings
        The cluster.
    ports
        Where hub and service will listen, or listen already, by their names.
    servers
        Whether single-user servers are pods as well.
    say
        Told what is being waited for.

    Raises
    ------
    ClusterUnfit
        The first thing that is wrong.
    """
    api = Api(settings)
    try:
        version = await _connect(api, settings)
        await _rights(api, settings, servers)
        nodes = None if settings.autoscaled else await api.nodes()
        async with AsyncExitStack() as stack:
            word = secrets.token_hex(16)
            ours = {
                name: await stack.enter_async_context(_answering(*where, word))
                for name, where in ports.items()
            }
            pod = await stack.enter_async_context(_pod(api, settings, ports))
            await _both_ways(api, settings, pod, ports, ours, word, say)
    except ApiError as error:
        raise refusal(error, settings.namespace) from error
    except Away as error:
        raise ClusterUnfit(f"The cluster stopped answering: {error!r}") from error
    finally:
        await api.close()
    return version, None if nodes is None else [Node.of(each) for each in nodes]


def refusal(error: ApiError, namespace: str) -> ClusterUnfit:
    """Return the way out of what the cluster's API did not take."""
    if error.status == 404 and f'namespaces "{namespace}" not found' in error.message:
        return ClusterUnfit(
            f"The cluster has no namespace {namespace}.",
            hint=f"`kubectl create namespace {namespace}` makes it; or choose another: "
            'c.NablaHub.kubernetes = {"namespace": …}, or that of the kubeconfig\'s context.',
        )
    return ClusterUnfit(
        f"The cluster refuses to be used: {error.message}",
        hint=f"`kubectl --namespace {namespace} get events` may say why.",
    )


async def _connect(api: Api, settings: KubernetesSettings) -> str:
    path = settings.kubeconfig
    if path is not None and not path.is_file():
        raise ClusterUnfit(
            f"There is no file {path}, which would say where the cluster is.",
            hint="Set KUBECONFIG to the file by which kubectl reaches the cluster.",
        )
    try:
        await api.connect()
    except (ConfigException, YAMLError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ClusterUnfit(
            f"{path} does not say how to reach a cluster: {error}",
            hint=f"`kubectl --kubeconfig {path} version` must work.",
        ) from error
    try:
        async with asyncio.timeout(API_PATIENCE):
            return await api.version()
    except Away as error:
        why = str(error) or f"no answer within {API_PATIENCE:.0f} s"
        raise ClusterUnfit(
            f"The cluster that {path} names does not answer: {why}",
            hint=f"`kubectl --kubeconfig {path} version` must work from this machine.",
        ) from error
    except ApiError as error:
        raise ClusterUnfit(
            f"The cluster does not know the account of {path}: {error.message or error.status}",
            hint="Renew its token or certificate.",
        ) from error


async def _rights(api: Api, settings: KubernetesSettings, servers: bool) -> None:
    table = RIGHTS | (APART if settings.network_policies else {})
    wanted = {(verb, *what) for what, verbs in table.items() for verb in verbs}
    wanted |= {("create", "", "pods"), ("list", "", "pods")}  # the pod that is sent to look
    if servers:
        wanted |= {(verb, *what) for what, verbs in SERVERS_RIGHTS.items() for verb in verbs}
    asked = sorted(wanted, key=lambda right: (right[2], right[0]))
    given = await asyncio.gather(*(api.may(*right) for right in asked))
    missing: dict[str, list[str]] = {}
    for (verb, _, resource), may in zip(asked, given, strict=True):
        if not may:
            missing.setdefault(resource, []).append(verb)
    if missing:
        told = "; ".join(f"{', '.join(verbs)} {what}" for what, verbs in missing.items())
        raise ClusterUnfit(
            f"In the namespace {settings.namespace} the account of {settings.kubeconfig} may "
            f"not: {told}.",
            hint="Give it a Role with these verbs there, or name another namespace in "
            "c.NablaHub.kubernetes.",
        )


@asynccontextmanager
async def _answering(host: str, port: int, word: str) -> AsyncGenerator[bool]:
    """Answer with a word at an address while the block runs; False where somebody does already."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.readline()
            writer.write(f"HTTP/1.0 200 OK\r\n\r\n{word}".encode())
            await writer.drain()
        writer.close()

    bound: socket.socket | None = sockets.bind(port, host)
    if bound is None:
        yield False
        return
    server = await asyncio.start_server(answer, sock=bound)
    try:
        yield True
    finally:
        server.close()


@asynccontextmanager
async def _pod(api: Api, settings: KubernetesSettings, ports: Ports) -> AsyncGenerator[str]:
    """A pod that looks, while the block runs; those of killed hubs are removed."""
    name = f"nabla-reach-{secrets.token_hex(4)}"
    for old in (await api.list("Pod", _selector(settings)))[0]:
        if old.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            await api.delete("Pod", old["metadata"]["name"], grace_seconds=0)
    await api.create(reach_pod(settings, name, ports))
    try:
        yield name
    finally:
        with suppress(ApiError, *Away):
            await asyncio.shield(api.delete("Pod", name, grace_seconds=0))


def _selector(settings: KubernetesSettings) -> str:
    return ",".join(f"{name}={value}" for name, value in labels(settings).items())


async def _both_ways(
    api: Api,
    settings: KubernetesSettings,
    name: str,
    ports: Ports,
    ours: Mapping[str, bool],
    word: str,
    say: Callable[[str], None],
) -> None:
    """Return when each side was answered by the other."""
    ip: str | None = None
    reached: asyncio.Task[bool] | None = None
    try:
        async with aclosing(_looks(api, settings, name, say)) as looks:
            async for pod in looks:
                seen = see(pod)
                if seen.phase == "hopeless":
                    raise ClusterUnfit(
                        f"A pod of the image {settings.image} does not start. {seen.message}",
                        hint='Name an image that nodes can pull: c.NablaHub.kubernetes = {"image": '
                        "…}; `make images` builds ours.",
                    )
                if reached is None and seen.ip is not None:
                    ip = seen.ip
                    reached = asyncio.create_task(_asked(f"http://{ip}:{PORT}/"))
                if seen.phase in ("leaving", "ended"):
                    _answered(pod, settings, ports, ours, word)
                    break
        # Where it was over before its address was seen, it never was asked.
        if reached is not None and not await reached:
            raise ClusterUnfit(
                f"This machine does not reach pods: {ip}, where one listened, did not answer.",
                hint="Pods' addresses must have a route from here: as on a node of the cluster, "
                "or by a route or VPN into its pod network.",
            )
    finally:
        if reached is not None:
            reached.cancel()
            await asyncio.gather(reached, return_exceptions=True)


async def _asked(url: str) -> bool:
    """Whether somebody answers in time."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE):
            await web.until_answers(url)
            return True
    return False


async def _looks(
    api: Api, settings: KubernetesSettings, name: str, say: Callable[[str], None]
) -> AsyncGenerator[Object]:
    """Yield the pod as it is and at each change, until patience ends."""
    last = ""
    try:
        async with asyncio.timeout(POD_PATIENCE):
            while True:
                pods, version = await api.list("Pod", _selector(settings))
                for pod in pods:
                    if pod["metadata"]["name"] == name:
                        yield pod
                        last = _say_new(see(pod).message, last, say)
                with suppress(Expired):
                    async with aclosing(api.watch("Pod", _selector(settings), version)) as events:
                        async for _, pod in events:
                            if pod["metadata"]["name"] == name:
                                yield pod
                                last = _say_new(see(pod).message, last, say)
    except TimeoutError:
        raise ClusterUnfit(
            f"A pod of the image {settings.image} did not run within {POD_PATIENCE:.0f} s. {last}",
            hint=f"`kubectl --namespace {settings.namespace} get events` may say why.",
        ) from None


def _say_new(message: str, last: str, say: Callable[[str], None]) -> str:
    if message and message != last:
        say(message)
    return message or last


def _answered(
    pod: Object, settings: KubernetesSettings, ports: Ports, ours: Mapping[str, bool], word: str
) -> None:
    """Refuse when the pod was not answered, or by somebody else."""
    ended = pod["status"]["containerStatuses"][0].get("state", {}).get("terminated", {})
    try:
        told: Object = json.loads(ended.get("message") or "")
    except ValueError:
        raise ClusterUnfit(
            f"The pod that looks for this machine failed (exit code {ended.get('exitCode')}): "
            f"{ended.get('message') or 'it said nothing.'}",
            hint=f"The image {settings.image} must have a python3.",
        ) from None
    for name, (host, port) in ports.items():
        found = told[name]
        if "error" in found:
            raise ClusterUnfit(
                f"Pods do not reach {host}:{port}, where the {name} of this machine listens: "
                f"{found['error']}.",
                hint="Advertise an address that the cluster's nodes have a way to, and let a "
                "firewall pass these ports.",
            )
        if ours[name] and word not in found["said"]:
            raise ClusterUnfit(
                f"At {host}:{port} pods reach another machine than this one.",
                hint="Advertise an address that is this machine's in the cluster's network, too.",
            )
