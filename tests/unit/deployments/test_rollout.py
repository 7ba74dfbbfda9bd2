"""Deployments from their spec to a prediction through the public address, and all that can go
wrong on the way."""

from __future__ import annotations

import itertools
import json
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
import numpy as np
import onnxruntime
import pytest

from nablahub.core import errors
from nablahub.core.times import now
from nablahub.deployments import controller, probe, rollout
from nablahub.deployments.errors import BadSpec, DeploymentNameTaken
from nablahub.jobs.runners.process.ports import free_port
from tests.support import databases, waiting
from tests.support.service import RunningService
from tests.unit.deployments.conftest import Stage
from tests.unit.deployments.local import World, serving


def until(holds: Callable[[], bool]) -> None:
    """Wait for something that has no event of its own."""
    waiting.until(holds, "what is waited for", pause=0.02)


def test_running_means_it_answers_at_its_public_address(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one")
    assert (found.state, found.message, found.ready_replicas) == ("Running", "", 1)
    assert found.endpoint == f"{stage.url}/deployments/{found.id}"
    assert (found.model_ref, found.model_name, found.serving_version) == ("mo1:one", "iris", 1)
    key = stage.hub.deployments.create_key(found.id, "test")
    answer = stage.ask(found, key.key)
    until(lambda: stage.ask(found, key.key).status_code == 200)
    answer = stage.ask(found, key.key)
    assert answer.json()["model_version"] == "one"
    session = onnxruntime.InferenceSession(str(stage.world.models["mo1:one"].path))
    (wanted,) = session.run(["probabilities"], {"X": np.array([[1, 2, 3, 4]], np.float32)})
    got = np.array(answer.json()["outputs"][1]["data"], np.float32)
    assert got.tobytes() == wanted.tobytes()
    assert stage.ask(found, "nhk_wrong").status_code == 401
    assert found.sample is not None
    again = stage.hub.deployments.predict(found, key.key, found.sample)
    assert [output["name"] for output in again["outputs"]] == ["label", "probabilities"]


def test_keys_are_shown_once_and_open_nothing_when_revoked(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one")
    api = stage.hub.deployments
    first, second = api.create_key(found.id, "a"), api.create_key(found.id, "b", expires_in=3600)
    assert first.key.startswith("nhk_")
    assert first.key.startswith(first.prefix)
    assert second.expires_at is not None
    assert sorted(key.name for key in api.keys(found.id)) == ["a", "b"]
    assert all("key" not in key.model_dump() for key in api.keys(found.id))
    until(lambda: stage.ask(found, first.key).status_code == 200)
    stored = databases.stored(stage.world.root)
    stored += (stage.world.root / "keys" / found.id / "keys.json").read_bytes()
    assert first.key.encode() not in stored
    api.revoke_key(found.id, first.id)
    until(lambda: stage.ask(found, first.key).status_code == 401)
    assert stage.ask(found, second.key).status_code == 200
    with pytest.raises(errors.NotFound):
        api.revoke_key(found.id, first.id)


def test_limits_are_told_through_the_public_address(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one")
    key = stage.hub.deployments.create_key(found.id, "k").key
    url = f"{found.endpoint}/v2/models/iris/infer"
    for _ in range(5):
        answer = httpx.post(
            url, content=b" " * 34_000_000, headers={"X-API-Key": key}, trust_env=False, timeout=30
        )
        assert answer.status_code == 413
        assert "33554432 bytes at most, this one has 34000000 bytes" in answer.json()["error"]
        answer = httpx.post(
            url, content=b" " * 34_000_000, headers={"X-API-Key": "no"}, trust_env=False, timeout=30
        )
        assert answer.status_code == 401
    assert stage.ask(found, key).status_code == 200


def test_a_key_asked_for_twice_is_one_key(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one", replicas=0)
    path = f"/deployments/{found.id}/keys"
    first = stage.hub.transport.post(path, {"name": "k"}, key="same")
    second = stage.hub.transport.post(path, {"name": "k"}, key="same")
    assert first["id"] == second["id"]
    assert first["key"] != second["key"]
    assert len(list(stage.hub.deployments.keys(found.id))) == 1


def test_a_new_version_takes_over_without_a_failed_request(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one")
    key = stage.hub.deployments.create_key(found.id, "load").key
    until(lambda: stage.ask(found, key).status_code == 200)
    statuses: list[int] = []
    versions: list[str] = []
    stop = threading.Event()

    def load() -> None:
        row = {"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}
        with httpx.Client(trust_env=False, headers={"X-API-Key": key}) as client:
            while not stop.is_set():
                answer = client.post(
                    f"{found.endpoint}/v2/models/iris/infer", json={"inputs": [row]}
                )
                statuses.append(answer.status_code)
                versions.append(answer.json().get("model_version", answer.text))

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    changed = stage.hub.deployments.change(found, model="mo1:two")
    assert (changed.spec_version, changed.serving_version) == (2, 1)
    done = stage.hub.deployments.wait(found.id, seconds=60)
    until(lambda: len(stage.world.alive()) == 1)
    stop.set()
    for thread in threads:
        thread.join()
    assert (done.state, done.serving_version, done.model_ref) == ("Running", 2, "mo1:two")
    assert set(statuses) == {200}
    assert set(versions) == {"one", "two"}
    assert versions[-1] == "two"
    verdicts = [(v.number, v.verdict) for v in stage.hub.deployments.specs(found.id)]
    assert verdicts == [(2, "healthy"), (1, "healthy")]


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_in_place(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one")
    stage.hub.deployments.change(found, model="mo2:bad")
    done = stage.hub.deployments.wait(found.id, seconds=60)
    assert (done.state, done.reason, done.serving_version) == ("Running", "rollout", 1)
    assert "Version 2 was given up, version 1 still answers." in done.message
    assert "onnxruntime can't load broken.onnx" in done.message
    key = stage.hub.deployments.create_key(found.id, "k").key
    until(lambda: stage.ask(done, key).status_code == 200)
    back = stage.hub.deployments.change(done, spec_version=1)
    assert back.spec_version == 3
    done = stage.hub.deployments.wait(found.id, seconds=60)
    assert (done.state, done.message, done.serving_version) == ("Running", "", 3)
    assert len(stage.world.alive()) == 1


def test_a_first_version_that_cannot_be_loaded_fails_in_words(stage: Stage) -> None:
    found = stage.deploy(model="mo2:bad")
    assert (found.state, found.reason) == ("Failed", "rollout")
    assert "ended 3 times before it was ready" in found.message
    assert "onnxruntime can't load broken.onnx" in found.message
    assert len(stage.world.started) == 3
    again = stage.hub.deployments.change(found, model="mo1:one")
    assert stage.hub.deployments.wait(again.id, seconds=60).state == "Running"


def test_a_sample_that_is_refused_keeps_the_version_back(stage: Stage) -> None:
    row = {"name": "X", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}
    made = stage.hub.deployments.create(
        stage.project_id, {"name": "iris", "model": "mo1:one", "sample": {"inputs": [row]}}
    )

    def said() -> str:
        return str(stage.hub.deployments.get(made.id).message)

    until(lambda: "the model takes [-1, 4]" in said())
    found = stage.hub.deployments.get(made.id)
    assert (found.state, found.serving_version) == ("Provisioned", None)


def test_a_server_that_dies_is_started_again(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one")
    (first,) = stage.world.alive()
    stage.world.kill(first)
    seen = []  # It is told for a second only.

    def hurt() -> bool:
        seen.append(stage.hub.deployments.get(found.id))
        return bool(seen[-1].state == "Pending")

    until(hurt)
    assert seen[-1].reason == "restarting"
    assert "A model server ended: It was killed. It is started again in" in seen[-1].message
    until(lambda: stage.hub.deployments.get(found.id).state == "Running")
    (second,) = stage.world.alive()
    assert second != first
    key = stage.hub.deployments.create_key(found.id, "k").key
    until(lambda: stage.ask(found, key).status_code == 200)


def test_a_server_that_hangs_is_replaced(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(probe, "HEALTH_SECONDS", 0.5)
    found = stage.deploy(model="mo1:one")
    (first,) = stage.world.alive()
    stage.world.processes[first].send_signal(signal.SIGSTOP)
    until(lambda: "health checks" in stage.hub.deployments.get(found.id).message)
    # What the runner does when a job doesn't end by itself.
    stage.world.kill(first)
    until(lambda: stage.hub.deployments.get(found.id).state == "Running")
    assert stage.world.alive() != [first]


def test_scaling_keeps_the_servers_there_are(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one")
    (first,) = stage.world.alive()
    found = stage.hub.deployments.change(found, replicas=3)
    until(lambda: stage.hub.deployments.get(found.id).ready_replicas == 3)
    assert first in stage.world.alive()
    assert len(stage.world.alive()) == 3
    found = stage.hub.deployments.change(stage.hub.deployments.get(found.id), replicas=1)
    until(lambda: stage.world.alive() == [first])
    assert stage.hub.deployments.get(found.id).state == "Running"
    assert len(stage.world.started) == 3


def test_stopping_and_starting_again(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one")
    key = stage.hub.deployments.create_key(found.id, "k").key
    stopped = stage.hub.deployments.change(found, enabled=False)
    until(lambda: not stage.world.alive())
    until(lambda: stage.ask(found, key).status_code == 503)
    stopped = stage.hub.deployments.wait(found.id, seconds=60)
    assert (stopped.state, stopped.ready_replicas) == ("Stopped", 0)
    started = stage.hub.deployments.change(stage.hub.deployments.get(found.id), enabled=True)
    started = stage.hub.deployments.wait(started.id, seconds=60)
    assert (started.state, started.serving_version) == ("Running", 3)
    until(lambda: stage.ask(found, key).status_code == 200)
    assert len(stage.world.alive()) == 1


def test_the_same_spec_again_changes_nothing(stage: Stage) -> None:
    spec = "name: iris\nmodel: mo1:one\n"
    made = stage.hub.deployments.apply(stage.project_id, spec)
    stage.hub.deployments.wait(made.id, seconds=60)
    again = stage.hub.deployments.apply(stage.project_id, spec)
    assert (again.id, again.spec_version, again.revision) == (made.id, 1, 1)
    other = stage.hub.deployments.apply(stage.project_id, spec + "replicas: 2\n")
    assert (other.id, other.spec_version, other.revision) == (made.id, 2, 2)


def test_deleting_takes_everything_away(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one")
    with pytest.raises(errors.Conflict, match="1 deployment"):
        stage.hub.projects.delete(stage.project_id)
    stage.hub.deployments.delete(found.id)
    with pytest.raises(errors.NotFound):
        stage.hub.deployments.get(found.id)
    assert list(stage.hub.deployments.list()) == []
    until(lambda: not stage.world.alive())
    until(lambda: not (stage.world.root / "keys" / found.id).exists())
    until(lambda: stage.ask(found, "any").status_code == 404)
    assert stage.ask(found, "any").json()["code"] == "no_deployment_there"

    def gone() -> bool:
        with suppress(errors.Conflict):  # Its row goes after its keys.
            stage.hub.projects.delete(stage.project_id)
            return True
        return False

    until(gone)


def test_names_are_unique_in_their_project_and_free_again_after_a_delete(stage: Stage) -> None:
    spec = {"name": "iris", "model": "mo1:one", "replicas": 0}
    made = stage.hub.deployments.create(stage.project_id, spec)
    with pytest.raises(DeploymentNameTaken, match="'iris' already"):
        stage.hub.deployments.create(stage.project_id, spec)
    stage.hub.deployments.delete(made.id)
    assert stage.hub.deployments.create(stage.project_id, spec).id != made.id


def test_faults_of_a_spec_come_with_their_place(stage: Stage) -> None:
    with pytest.raises(BadSpec) as caught:
        stage.hub.deployments.create(stage.project_id, "name: iris\nmodel: nobody\n")
    (fault,) = caught.value.errors
    assert (fault.line, fault.column) == (2, 8)
    assert "Model nobody was not found." in fault.message
    with pytest.raises(errors.Malformed, match="line 2, column 1"):
        stage.hub.deployments.create(stage.project_id, "name: [\n")
    assert list(stage.hub.deployments.list()) == []


def test_what_is_not_yours_does_not_exist(stage: Stage) -> None:
    made = stage.deploy(model="mo1:one", replicas=0)
    key = stage.hub.deployments.create_key(made.id, "k")
    bob = stage.service.transport("bob")
    for method, path in [
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/specs"),
        ("GET", "/keys"),
        ("DELETE", f"/keys/{key.id}"),
    ]:
        with pytest.raises(errors.NotFound):
            bob.request(method, f"/deployments/{made.id}{path}")
    with pytest.raises(errors.NotFound):
        bob.post(f"/deployments/{made.id}/keys", {"name": "k"})
    with pytest.raises(errors.NotFound):
        bob.patch(f"/deployments/{made.id}", {"replicas": 1}, revision=1)
    with pytest.raises(errors.NotFound):
        bob.post("/deployments", {"project_id": stage.project_id, "spec": {"name": "b"}})
    assert bob.get("/deployments")["items"] == []


def test_a_restarted_service_finds_its_servers_again(world: World, public_url: str) -> None:
    with serving(world, public_url) as service:
        hub = service.hub()
        project = hub.projects.create("p").id
        made = hub.deployments.create(project, {"name": "iris", "model": "mo1:one"})
        made = hub.deployments.wait(made.id, seconds=60)
        key = hub.deployments.create_key(made.id, "k").key
    before = world.alive()
    routes = world.root / "traefik" / "dynamic" / "deployments.yaml"
    content = json.loads(routes.read_text())["http"]["routers"]
    routes.unlink()
    with serving(world, public_url) as service:
        found = service.hub().deployments.wait(made.id, seconds=60)
        assert (found.state, found.serving_version) == ("Running", 1)
        assert world.alive() == before
        assert world.started == before
        assert json.loads(routes.read_text())["http"]["routers"] == content
        until(lambda: httpx.get(f"{made.endpoint}/v2", headers={"X-API-Key": key}).is_success)


def test_a_restarted_service_tries_a_new_version_anew(
    world: World, public_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(service: RunningService) -> str:
        return str(next(service.hub().deployments.specs(made.id)).message)

    first, second = (f"http://127.0.0.1:{free_port()}" for _ in range(2))  # Nobody is there.
    with serving(world, first) as service:
        hub = service.hub()
        project = hub.projects.create("p").id
        made = hub.deployments.create(project, {"name": "iris", "model": "mo1:one"})
        until(lambda: first in told(service))
    monkeypatch.setattr(controller, "now", lambda: now() + timedelta(hours=1))
    with serving(world, second) as service:
        until(lambda: second in told(service))
        (version,) = service.hub().deployments.specs(made.id)
        assert version.verdict == "pending"
    with serving(world, public_url) as service:
        assert service.hub().deployments.wait(made.id, seconds=60).state == "Running"


def test_events_tell_of_the_state(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one")
    seen: list[str] = []
    events = stage.hub.transport.events(after=0)
    for event in events:
        if event.data["kind"] == "deployment" and event.data["id"] == found.id:
            seen.append(event.data["data"]["state"])
            if seen[-1] == "Running":
                break
    events.close()
    assert seen[0] == "Pending"
    assert [state for state, after in itertools.pairwise(seen) if state != after] == [
        "Pending",
        "Provisioned",
    ]


def test_the_state_folder_is_private(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one", replicas=0)
    key = stage.hub.deployments.create_key(found.id, "k")
    file: Path = stage.world.root / "keys" / found.id / "keys.json"
    until(lambda: key.id in file.read_text())
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o077 == 0


def test_a_stopped_deployment_says_so_at_its_address(stage: Stage) -> None:
    found = stage.deploy(model="mo1:one", replicas=0)
    assert found.state == "Stopped"
    with httpx.Client(trust_env=False) as client:
        until(lambda: client.get(found.endpoint).status_code == 503)
        answer = client.get(f"{found.endpoint}/v2")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "deployment_stopped"
        assert "is stopped" in answer.json()["detail"]
        page = client.get(found.endpoint, headers={"Accept": "text/html"})
        assert (page.status_code, "is stopped" in page.text) == (503, True)
        assert page.headers["content-type"].startswith("text/html")
        assert client.get(f"{stage.url}/deployments/nonsuch").status_code == 404
        # Who stopped it, what it serves, what it is called: nobody is told without a key.
        assert "iris" not in answer.text + page.text


def test_a_deployment_whose_model_cannot_be_loaded_says_so_at_its_address(stage: Stage) -> None:
    found = stage.deploy(model="mo2:bad")
    assert found.state == "Failed"
    with httpx.Client(trust_env=False) as client:
        until(lambda: client.get(found.endpoint).status_code == 503)
        assert client.get(found.endpoint).json()["code"] == "deployment_not_ready"
