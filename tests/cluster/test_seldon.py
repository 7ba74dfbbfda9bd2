"""A `serve` task as a SeldonDeployment, on a cluster that has the definition of that kind alone.

Seldon Core's operator is not there: what it does with the object, this test does by hand, and no
more of it than that a Deployment comes of the component's pod. So it shows that the real schema
takes our object whole, and that the runner follows the pods and leaves nothing; it does not show
that the operator is content.

`seldon-crd.json` is Seldon Core v1.17.1's own (Apache-2.0,
operator/config/crd_v1_small/bases), without its descriptions.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nablahub.jobs.runners.contract import TaskRefused, TaskSpec
from nablahub.jobs.runners.kubernetes.names import object_name
from nablahub.jobs.runners.kubernetes.objects import Cluster as Target
from nablahub.jobs.runners.kubernetes.servers import seldon
from tests.cluster.places import KubernetesPlace
from tests.cluster.target import Cluster
from tests.contract.places import Watcher, answer
from tests.contract.suite import ONE, SERVER
from tests.support.waiting import until

DEFINITION = Path(__file__).with_name("seldon-crd.json")
NAME = "seldondeployments.machinelearning.seldon.io"
TASK = TaskSpec.model_validate(
    {
        "name": ONE, "kind": "serve", "maker": "seldon", "probe": {"path": "/ok", "period": 1},
        "command": ["/usr/bin/env", "python3", "-c", SERVER],
        "scale": {"least": 1, "most": 3, "cpu": 50},
    }
)  # fmt: skip


def kubectl(cluster: Cluster, *arguments: str, given: str | None = None) -> str:
    where = (f"--kubeconfig={cluster.kubeconfig}", f"-n={cluster.namespace}")
    return subprocess.run(
        ["kubectl", *where, *arguments], input=given, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture
def define(cluster: Cluster, kinds: None) -> Iterator[Callable[[], None]]:
    """Lets the cluster know SeldonDeployments, from when it is called to the end of the test."""

    def work() -> None:
        kubectl(cluster, "apply", "-f", str(DEFINITION), "--server-side")
        until(lambda: served(cluster), "the definition holds", pause=0.1)

    yield work
    kubectl(cluster, "delete", "crd", NAME, "--ignore-not-found")


def served(cluster: Cluster) -> bool:
    """Whether the cluster takes objects of the kind, and says so: that comes a moment later."""
    status = json.loads(kubectl(cluster, "get", "crd", NAME, "-o", "json")).get("status", {})
    holds = any(
        (each["type"], each["status"]) == ("Established", "True")
        for each in status.get("conditions") or ()
    )
    return holds and NAME in kubectl(cluster, "api-resources", "--cached=false", "-o", "name")


async def test_the_object_is_taken_whole_and_its_pods_are_followed(
    define: Callable[[], None], place: KubernetesPlace, cluster: Cluster
) -> None:
    with pytest.raises(TaskRefused, match="has no Seldon Core: install it"):
        await place.runner.start(TASK)
    await asyncio.to_thread(define)
    await place.runner.start(TASK)
    name = object_name(place.settings.hub, ONE)
    kept = json.loads(kubectl(cluster, "get", "sdep", name, "-o", "json"))
    wanted = seldon(TASK, Target(place.settings, place.receiver.url))
    assert kept["spec"] == wanted["spec"], "the schema drops or changes a field"
    as_operator(cluster, kept)
    watcher = Watcher(place)
    status = await watcher.until_ready(TASK)
    assert status.address is not None
    assert await answer(f"{status.address}/ok") == "hello"
    more = TASK.model_copy(update={"scale": TASK.scale.model_copy(update={"least": 2})})
    await place.runner.scale(more)
    kept = json.loads(kubectl(cluster, "get", "sdep", name, "-o", "json"))
    assert kept["spec"]["predictors"][0]["replicas"] == 2
    await place.restart()
    watcher = Watcher(place)
    await place.runner.look(TASK)
    await place.runner.cancel(ONE, grace_seconds=1, message="enough")
    assert (await watcher.until_ended(TASK)).verdict == "cancelled"
    await place.runner.tidy(ONE)
    left = ("sdep,deployment,service,secret,pod", "-o", "name", "-l")
    marked = f"nablahub.org/hub={place.settings.hub}"
    assert await asyncio.to_thread(kubectl, cluster, "get", *left, marked) == ""


def as_operator(cluster: Cluster, made: dict[str, Any]) -> None:
    """Make the Deployment of a component, owned by the object, as the operator would."""
    predictor = made["spec"]["predictors"][0]
    component = predictor["componentSpecs"][0]
    owner = {
        "apiVersion": made["apiVersion"], "kind": made["kind"], "name": made["metadata"]["name"],
        "uid": made["metadata"]["uid"],
    }  # fmt: skip
    labels = component["metadata"]["labels"]
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": f"{made['metadata']['name']}-default", "ownerReferences": [owner]},
        "spec": {
            "replicas": predictor["replicas"],
            "selector": {"matchLabels": labels},
            "template": {"metadata": component["metadata"], "spec": component["spec"]},
        },
    }  # fmt: skip
    kubectl(cluster, "create", "-f", "-", given=json.dumps(deployment))
