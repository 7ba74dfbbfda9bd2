"""How long things take on a real Kubernetes, against the plain tool in the same run.

``python -m tests.benchmarks.cluster [--json] [--quick]`` needs a KUBECONFIG and our images where
its nodes find them (``make images``). Row "spawn to ready": from the request for a server to the
hub's event that it is ready, in turns with a hub whose spawner is KubeSpawner itself, with the same
image, claim and resources. Where the program ``kwok`` is, it simulates nodes meanwhile, 300 with 8
GPUs each, and more rows tell how 200 notebooks and 2,000 queued jobs do there; `--scale` runs these
alone, `--many 20 200` with fewer of each, `--nodes 30` on fewer nodes. It leaves nothing behind;
after a kill, ``kubectl delete nodes -l type=kwok``.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from tests.benchmarks.report import Row, print_report
from tests.benchmarks.scale import scale
from tests.benchmarks.simulated import kwok
from tests.cluster.conftest import NO_CLUSTER, namespace
from tests.cluster.hubs import kube_hub
from tests.cluster.target import Cluster

TYPES: dict[str, object] = {"bench": {"cpus": 1, "memory_gib": 1}}
PLAIN = """
c.JupyterHub.spawner_class = "kubespawner.KubeSpawner"
ours = dict(c.NablaKubeSpawner)
for name in ("hub_connect_url", "namespace", "image", "image_pull_policy", "storage_capacity"):
    c.KubeSpawner[name] = ours[name]
c.KubeSpawner.storage_pvc_ensure = True
CLAIM = {"persistentVolumeClaim": {"claimName": "{pvc_name}"}}
c.KubeSpawner.volumes = {"home": {"name": "home", **CLAIM}}
c.KubeSpawner.volume_mounts = {"home": {"name": "home", "mountPath": "/home/bench"}}
c.KubeSpawner.cpu_limit, c.KubeSpawner.cpu_guarantee = 1, 0.05
c.KubeSpawner.mem_limit = c.KubeSpawner.mem_guarantee = "1G"
c.KubeSpawner.fs_gid = 1000
c.KubeSpawner.start_timeout = 300
"""


def spawns(cluster: Cluster, folder: Path, rounds: int) -> Row:
    """Return the row of spawns, in turns; the first of each makes the claims and is not counted."""
    for name in ("ours", "plain"):
        (folder / name).mkdir()
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    with (
        kube_hub(cluster, folder / "ours", TYPES) as ours,
        kube_hub(cluster, folder / "plain", TYPES, PLAIN) as plain,
    ):
        for number in range(rounds + 1):
            for name, hub, user in (("ours", ours, "alice"), ("plain", plain, "bob")):
                start = perf_counter()
                server = hub.spawn(user, instance_type="bench")
                if number:
                    times[name].append(perf_counter() - start)
                server.stop()
    return Row(
        "spawn to ready", "s", times["ours"], times["plain"], "ratio ≤ 1.1",
        lambda row: (row.ratio or 9) <= 1.1, "KubeSpawner",
    )  # fmt: skip


def main() -> None:
    """Run all rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--quick", action="store_true", help="fewer repetitions")
    parser.add_argument("--scale", action="store_true", help="the rows of scale only")
    words = ("NOTEBOOKS", "JOBS")
    parser.add_argument("--nodes", type=int, default=300, help="so many simulated nodes")
    parser.add_argument("--many", type=int, nargs=2, metavar=words, help="so many of each")
    given: Any = parser.parse_args()
    kubeconfig = Path(os.environ.get("KUBECONFIG", ""))
    if not kubeconfig.is_file():
        sys.exit(NO_CLUSTER)
    with (
        tempfile.TemporaryDirectory(prefix="nablahub-bench-") as name,
        namespace(kubeconfig) as cluster,
    ):
        folder = Path(name)
        rows = [] if given.scale else [spawns(cluster, folder, 3 if given.quick else 9)]
        if kwok():
            (folder / "scale").mkdir()
            many = given.many or ((20, 200) if given.quick else (200, 2000))
            how = f"{given.nodes} simulated nodes, {many[0]} notebooks, {many[1]} jobs"
            print(how, file=sys.stderr)
            rows += scale(cluster, folder / "scale", given.nodes, *many)
        else:
            print("no kwok on the PATH: the rows of scale are left out", file=sys.stderr)
        print_report(rows, as_json=given.json)


if __name__ == "__main__":
    main()
