"""Whether a hub on this machine and the cluster that it sends its work to can be used together."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from nablahub.core.errors import NablaError
from nablahub.core.instances import InstanceType, LiveCatalogue
from nablahub.core.kubernetes import KubernetesSettings, beside
from nablahub.core.nodes import Node
from nablahub.core.state import StateDir
from nablahub_hub.settings import NablaHub

type Ports = Mapping[str, tuple[str, int]]

#: Seconds in which the way to the cluster is found; nothing is sent.
_ROUTE_SECONDS = 5.0


class ClusterUnfit(NablaError):
    """The cluster and this machine cannot work together as they are."""

    code = "cluster_unfit"
    title = "The cluster cannot be used"


def check_address(settings: NablaHub) -> None:
    """Refuse an address that is missing, or is another machine's.

    Raises
    ------
    ClusterUnfit
        With the address that is likely meant.
    """
    address = settings.advertise
    if not address:
        # A hub that pods reach in another way has said so by one of these.
        told = settings.cluster.service_url or not settings.service_address.startswith("127.")
        if settings.runner == "kubernetes" and not told:
            raise ClusterUnfit(
                "Jobs are to run as pods, and pods must reach this machine: nobody said where.",
                hint=f"Add --advertise {_likely(beside(settings.kubernetes)) or 'ADDRESS'}, an "
                "address of this machine that the cluster's nodes have a way to.",
            )
        return
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            likely = _likely(settings.cluster)
            hint = f"The cluster sees it as {likely}." if likely else "`ip address` lists them."
            raise ClusterUnfit(
                f"{address} is not an address of this machine, so nothing can listen there.",
                hint=hint,
            ) from None


async def check(settings: NablaHub, ports: Ports, say: Callable[[str], None]) -> str | None:
    """Refuse a cluster that cannot be used from here, or whose pods do not reach us.

    Parameters
    ----------
    settings
        Of the hub.
    ports
        Where it and its service will listen, or listen already.
    say
        Told what is being waited for.

    Returns
    -------
    str or None
        What was found to be well; None where nothing was to be looked at, because no pods are told
        to come to an address of this machine.

    Raises
    ------
    ClusterUnfit
        The first thing that is wrong.
    """
    if not settings.advertise or "kubernetes" not in (settings.runner, settings.spawner):
        return None
    try:
        # Only here: what it needs is an extra.
        from nablahub_hub.local import reach
    except ImportError as error:
        raise ClusterUnfit(
            f"What speaks to a cluster is not installed: {error}.",
            hint="pip install 'nablahub[hub,kubernetes]'",
        ) from error
    cluster = settings.cluster
    told, nodes = await reach.examine(cluster, ports, settings.spawner == "kubernetes", say)
    where = f"{told}, namespace {cluster.namespace}"
    found = f"{where}; its pods and {settings.advertise} reach each other"
    small = None
    if nodes is not None and settings.runner == "kubernetes":
        own = settings.instance_types_file or StateDir(Path(settings.state_dir)).instance_types
        kind = LiveCatalogue(Path(own)).now().types.get(settings.default_instance_type)
        small = too_small(kind, cluster, nodes) if kind is not None else None
    return f"{found}. {small}" if small else found


def too_small(kind: InstanceType, cluster: KubernetesSettings, nodes: Sequence[Node]) -> str | None:
    """Return a sentence when no node can ever run what jobs get by default, else None."""
    from nablahub.jobs.runners.kubernetes.room import too_big

    why = too_big(kind, cluster, nodes)
    if why is None:
        return None
    return (
        f"But no node can ever run a job of {kind.name}, the default. {why} Let pods ask for less "
        'than their CPUs, by c.NablaHub.kubernetes["cpu_request"] and '
        "c.NablaKubeSpawner.cpu_request_share, or choose other instance types"
    )


def _likely(settings: KubernetesSettings) -> str | None:
    """Return the address that packets to the cluster leave from."""
    try:
        clusters = YAML(typ="safe").load(settings.kubeconfig)["clusters"]
        url = urlsplit(clusters[0]["cluster"]["server"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(_ROUTE_SECONDS)
            probe.connect((url.hostname, url.port or 443))
            return str(probe.getsockname()[0])
    except (OSError, YAMLError, KeyError, IndexError, TypeError, ValueError):
        return None
