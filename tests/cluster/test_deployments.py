"""Deployments of the real service on the real cluster, asked through a real Traefik."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest

from nablahub.deployments.types import Deployment
from nablahub.jobs.runners.contract import TaskName
from nablahub.jobs.runners.kubernetes.names import TASK, labels, object_name
from tests.cluster.stage import KINDS, ROW, Load, Stage
from tests.cluster.target import Cluster
from tests.support.waiting import until


@pytest.fixture(scope="module")
def stage(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    made = Stage(tmp_path_factory.mktemp("deployments"), cluster)
    try:
        made.open()
        yield made
    finally:
        made.close()


@pytest.fixture
def found(stage: Stage) -> Iterator[Deployment]:
    """A deployment that answers; afterwards nothing of it is left."""
    made = stage.deploy()
    assert made.state == "Running", f"{made.message}\n{stage.log()}"
    yield made
    stage.hub.deployments.delete(made.id)
    until(lambda: not stage.objects(*KINDS), "everything of it goes", pause=0.2)


def key_of(stage: Stage, found: Deployment) -> str:
    """Make a key and wait until it opens."""
    key: str = stage.hub.deployments.create_key(found.id, "test").key
    until(lambda: stage.ask(found, key).status_code == 200, "the key opens", seconds=20)
    return key


def pods(stage: Stage) -> list[str]:
    """Names of the pods that are not ending."""
    found = [pod["metadata"] for pod in stage.objects("Pod")]
    return sorted(meta["name"] for meta in found if "deletionTimestamp" not in meta)


#: In a pod: kills its model server.
KILL = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if b"nablahub.serving" in path.read_bytes() and int(path.parent.name) != os.getpid():
        os.kill(int(path.parent.name), signal.SIGKILL)
"""


def restarts(stage: Stage) -> int:
    """How often the nodes started model servers again."""
    return sum(
        container["restartCount"]
        for pod in stage.objects("Pod")
        for container in pod["status"].get("containerStatuses", ())
        if container["name"] == "main"
    )


def test_running_means_a_pod_answers_at_the_public_address(stage: Stage, found: Deployment) -> None:
    key = key_of(stage, found)
    session = onnxruntime.InferenceSession(stage.hub.models.read("iris", "model.onnx"))
    assert stage.ask(found, "nhk_wrong").status_code == 401
    answer = stage.ask(found, key)
    assert answer.headers["x-nablahub-deployment-version"] == "1"
    got = np.array(answer.json()["outputs"][1]["data"], np.float32)
    content = stage.hub.models.read(f"iris:{stage.versions[0]}", "model.onnx")
    session = onnxruntime.InferenceSession(content)
    (wanted,) = session.run(["probabilities"], {"X": np.array([ROW["data"]], np.float32)})
    assert got.tobytes() == wanted.tobytes()
    (job,) = stage.hub.jobs.list()
    until(lambda: "is ready" in stage.hub.jobs.log(job.id), "its log comes")


def test_the_container_that_serves_has_no_token(stage: Stage, found: Deployment) -> None:
    assert found.state == "Running"
    (name,) = pods(stage)
    for container, held in (("main", False), ("beside", True)):
        said = stage.kubectl(
            "exec", name, "-c", container, "--", "sh", "-c",
            "cat /run/nablahub-task/* /proc/1/environ; cat /proc/[0-9]*/environ 2>/dev/null",
        )  # fmt: skip
        assert ("nhrd_" in said) is held, container
        assert "nhr_" not in said, container


def test_a_revoked_key_opens_nothing_soon_after(stage: Stage, found: Deployment) -> None:
    api = stage.hub.deployments
    kept, revoked = api.create_key(found.id, "kept"), api.create_key(found.id, "revoked")
    until(lambda: stage.ask(found, kept.key).status_code == 200, "the key opens")
    until(lambda: stage.ask(found, revoked.key).status_code == 200, "the other one, too")
    api.revoke_key(found.id, revoked.id)
    # Sooner than a node would look at a Secret again, which is a minute.
    until(lambda: stage.ask(found, revoked.key).status_code == 401, "it is revoked", seconds=20)
    assert stage.ask(found, kept.key).status_code == 200


def test_a_new_version_takes_over_and_no_request_is_lost(stage: Stage, found: Deployment) -> None:
    load = Load(f"{found.endpoint}/v2/models/iris/infer", key_of(stage, found))

    def roll() -> None:
        time.sleep(1)
        stage.hub.deployments.change(found, model=f"iris:{stage.versions[1]}")
        done = stage.wait(found.id)
        assert (done.state, done.serving_version) == ("Running", 2), done.message
        until(lambda: len(stage.objects("Deployment")) == 1, "the old one ends", pause=0.2)
        until(lambda: len(stage.objects("Pod")) == 1, "its pods end", pause=0.2)
        until(lambda: len(load.versions) >= 500, "there was load")

    load.during(roll)
    assert load.faults == []
    assert set(load.versions) == set(stage.versions)
    assert load.versions[0] == stage.versions[0]
    assert load.versions[-1] == stage.versions[1]


def test_a_pod_that_is_killed_is_replaced(stage: Stage, found: Deployment) -> None:
    key = key_of(stage, found)
    (name,) = pods(stage)
    stage.kubectl("delete", "pod", name, "--grace-period=0", "--force")
    until(lambda: pods(stage) not in ([], [name]), "another pod comes")
    until(lambda: stage.ask(found, key).status_code == 200, "it answers")
    until(lambda: stage.hub.deployments.get(found.id).state == "Running", "it is told")
    assert len(list(stage.hub.jobs.list())) == 1


def evict(stage: Stage, pod: str) -> str:
    """Ask that a pod leaves its node, as draining does; return what the cluster says."""
    asked = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod}}
    where = f"/api/v1/namespaces/{stage.cluster.namespace}/pods/{pod}/eviction"
    command = ("create", "--raw", where, "-f", "-")
    return stage.kubectl(*command, given=json.dumps(asked), codes=(0, 1))


def test_more_replicas_and_fewer_lose_no_request(stage: Stage, found: Deployment) -> None:
    load = Load(f"{found.endpoint}/v2/models/iris/infer", key_of(stage, found))

    def ready(count: int) -> bool:
        now = stage.hub.deployments.get(found.id)
        return (now.state, now.ready_replicas) == ("Running", count) and len(pods(stage)) == count

    def change() -> None:
        stage.hub.deployments.change(found, replicas=2)
        until(lambda: ready(2), "two are ready", pause=0.2)
        until(lambda: budget()["status"]["disruptionsAllowed"] == 1, "one may leave", pause=0.2)
        first, second = pods(stage)
        assert "Success" in evict(stage, first)
        # Draining tries again until the other one's successor answers.
        assert "Success" not in evict(stage, second)
        until(lambda: ready(2) and first not in pods(stage), "two are ready again", pause=0.2)
        assert second in pods(stage)
        stage.hub.deployments.change(stage.hub.deployments.get(found.id), replicas=1)
        until(lambda: ready(1), "one is left", pause=0.2)
        until(lambda: len(stage.objects("Pod")) == 1, "the other ends", pause=0.2)

    def budget() -> dict[str, Any]:
        (found,) = stage.objects("PodDisruptionBudget")
        return found

    load.during(change)
    assert load.faults == []
    assert stage.objects("PodDisruptionBudget") == []
    assert len(list(stage.hub.jobs.list())) == 1


def test_the_number_of_servers_follows_their_load(stage: Stage, found: Deployment) -> None:
    wanted = {
        "enabled": True, "maxReplicas": 2,
        "metrics": [{"metric": "cpu", "summary": "average", "value": 30}],
    }  # fmt: skip
    spec = found.spec.model_dump(mode="json", exclude_none=True) | {"autoscaling": wanted}
    stage.hub.deployments.change(found, spec=spec)
    until(lambda: stage.objects("HorizontalPodAutoscaler"), "the autoscaler is there")
    load = Load(
        f"{found.endpoint}/v2/models/iris/infer", key_of(stage, found), rate=10_000, threads=6
    )
    load.during(lambda: until(lambda: len(pods(stage)) == 2, "a second one", pause=0.5))
    assert load.faults == []
    until(lambda: stage.hub.deployments.get(found.id).ready_replicas == 2, "it is told", pause=0.2)
    (scaler,) = stage.objects("HorizontalPodAutoscaler")
    assert scaler["status"]["desiredReplicas"] == 2
    now = stage.hub.deployments.get(found.id)
    spec.pop("autoscaling")
    stage.hub.deployments.change(now, spec=spec)
    until(lambda: not stage.objects("HorizontalPodAutoscaler"), "it goes")
    until(lambda: len(pods(stage)) == 1, "one is left", pause=0.2)


@pytest.mark.slow
def test_a_service_that_is_killed_goes_on_where_it_was(stage: Stage, found: Deployment) -> None:
    load = Load(f"{found.endpoint}/v2/models/iris/infer", key_of(stage, found))

    def roll() -> None:
        stage.hub.deployments.change(found, model=f"iris:{stage.versions[1]}")
        for pause in (0.2, 1.5, 3.0):  # Wherever it is hit, it goes on.
            time.sleep(pause)
            stage.kill()
            stage.begin()
        done = stage.wait(found.id)
        assert (done.state, done.serving_version) == ("Running", 2), done.message
        until(lambda: len(stage.objects("Deployment")) == 1, "the old one ends", pause=0.2)

    load.during(roll)
    assert load.faults == []
    assert set(load.versions) == set(stage.versions)


def test_it_answers_and_is_replaced_while_the_service_is_away(
    stage: Stage, found: Deployment
) -> None:
    key = key_of(stage, found)
    stage.hub.deployments.create_key(found.id, "other")
    stage.kill()
    assert stage.ask(found, key).status_code == 200
    assert stage.ask(found, "nhk_wrong").status_code == 401
    # Its process dies, and the node starts it again: model and keys are there still.
    (name,) = pods(stage)
    # What kills the container's first process dies with it, or says so before.
    kill = ("exec", name, "-c", "main", "--", "python3", "-c", KILL)
    stage.kubectl(*kill, codes=(0, 137))
    until(lambda: restarts(stage) == 1, "it is started again", pause=0.1)

    def answers() -> bool:
        try:
            return stage.ask(found, key).status_code == 200
        except httpx.TransportError:  # It came in the midst of the start.
            return False

    until(answers, "it answers")
    stage.begin()
    assert stage.wait(found.id).state == "Running"


@pytest.mark.slow
def test_what_a_killed_service_left_is_removed(stage: Stage) -> None:
    made = stage.deploy(name="short")
    assert made.state == "Running", made.message
    stage.hub.deployments.delete(made.id)
    stage.kill()
    stage.begin()
    until(lambda: not stage.objects(*KINDS), "everything of it goes", pause=0.2)
    # What it knows nothing of any more, as after its database was put back.
    name = object_name(stage.settings.hub, TaskName("jgone"))
    meta = {"name": name, "labels": labels(stage.settings.hub), "annotations": {TASK: "jgone"}}
    other = {"apiVersion": "v1", "kind": "Service", "metadata": meta,
             "spec": {"ports": [{"port": 80}]}}  # fmt: skip
    stage.end()
    stage.kubectl("create", "-f", "-", given=json.dumps(other))
    stage.begin()
    until(lambda: not stage.objects(*KINDS), "the orphan goes", pause=0.2)


def test_what_cannot_be_loaded_is_given_up_and_the_old_one_stays(
    stage: Stage, found: Deployment, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    version = stage.hub.datasets.upload("iris-model", tmp_path)
    bad = stage.hub.models.add_version("iris", version.ref, format="ONNX")
    key = key_of(stage, found)
    stage.hub.deployments.change(found, model=f"iris:{bad.id.partition(':')[2]}")
    done = stage.wait(found.id)
    assert (done.state, done.reason, done.serving_version) == ("Running", "rollout", 1)
    assert "onnxruntime can't load model.onnx" in done.message
    assert stage.ask(found, key).status_code == 200
    until(lambda: len(stage.objects("Deployment")) == 1, "nothing is left of it", pause=0.2)


def test_a_stopped_deployment_says_so(stage: Stage, found: Deployment) -> None:
    key = key_of(stage, found)
    stage.hub.deployments.change(found, enabled=False)
    until(lambda: not stage.objects(*KINDS), "nothing of it is left", pause=0.2)
    answer = stage.ask(found, key)
    assert (answer.status_code, answer.json()["code"]) == (503, "deployment_stopped")
    stopped = stage.hub.deployments.get(found.id)
    assert stopped.state == "Stopped"
    stage.hub.deployments.change(stopped, enabled=True)
    assert stage.wait(found.id).state == "Running"
    until(lambda: stage.ask(found, key).status_code == 200, "it answers again")


def test_seldon_is_refused_where_its_operator_is_not(stage: Stage, kinds: None) -> None:
    made = stage.deploy(name="other", engine="seldon")
    assert made.state == "Failed"
    assert "has no Seldon Core" in made.message
    stage.hub.deployments.delete(made.id)
