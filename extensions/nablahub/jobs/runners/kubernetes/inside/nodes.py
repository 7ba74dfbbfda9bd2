"""What the nodes of one task know of each other. Standard library only.

Each node has a name of its own in the cluster's DNS, `<task>-<node>.<task>`, by a headless Service.
"""

from __future__ import annotations

import base64
import json
import socket

#: Where the first node's process group meets; what torchrun takes when it is told nothing.
PORT = 29500


def hosts(name: str, count: int) -> list[str]:
    """The names of a task's nodes in the cluster's DNS, the first one's first."""
    return [f"{name}-{node}.{name}" for node in range(count)]


def variables(node: int, names: list[str]) -> dict[str, str]:
    """The variables by which the programs of one task find each other.

    Those of `torch.distributed` (https://docs.pytorch.org/docs/stable/distributed.html) count one
    process for each node, which `torchrun` counts anew for its own; it reads PET_… as its options.
    TensorFlow reads TF_CONFIG; the rest is what Gradient's experiments of several nodes had.
    """
    cluster = {
        "cluster": {"worker": [f"{name}:{PORT}" for name in names]},
        "task": {"type": "worker", "index": node},
    }
    config = json.dumps(cluster)
    count, master, port = str(len(names)), names[0], str(PORT)
    return {
        "NNODES": count, "NODE_RANK": str(node), "WORLD_SIZE": count, "RANK": str(node),
        "LOCAL_RANK": "0", "MASTER_ADDR": master, "MASTER_PORT": port,
        "PET_NNODES": count, "PET_NODE_RANK": str(node),
        "PET_MASTER_ADDR": master, "PET_MASTER_PORT": port,
        "NABLAHUB_NODES": ",".join(names),
        "TF_CONFIG": config, "PS_CONFIG": base64.b64encode(config.encode()).decode(),
        "TYPE": "worker", "INDEX": str(node), "WORKER_HOSTS": ",".join(names),
    }  # fmt: skip


def resolve(name: str) -> bool:
    """Whether the cluster's DNS knows a name by now."""
    try:
        socket.getaddrinfo(name, PORT)
    except OSError:
        return False
    return True
