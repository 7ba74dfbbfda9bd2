"""``nablahub demo``: the whole path, twice, and what it serves."""

from __future__ import annotations

import json
import random
import re
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest

from nablahub import showcase
from nablahub.client import Hub, connect
from tests.support.hub import RunningHub, command, environment, ours, run, running

pytestmark = [pytest.mark.hub, pytest.mark.timeout(600)]

FIELDS = {
    "project", "dataset_version", "run", "output_version", "model_version", "deployment",
    "endpoint", "prediction", "urls", "seconds",
}  # fmt: skip


def demo(state: Path, *words: str) -> tuple[dict[str, Any], str]:
    """Run the demo to its end; return the last line of its stdout, and its stderr."""
    done = run("demo", "--json", "--state-dir", str(state), *words, timeout=400)
    assert done.returncode == 0, done.stderr + done.stdout
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def counts(hub: Hub) -> dict[str, int]:
    """Return how many there are of everything."""
    found = {
        noun: sum(1 for _ in hub.transport.pages(f"/{noun}"))
        for noun in ("projects", "datasets", "models", "workflows", "runs", "deployments", "jobs")
    }
    for dataset in hub.datasets.list():
        found[f"versions of {dataset.name}"] = sum(1 for _ in hub.datasets.versions(dataset.id))
    for model in hub.models.list():
        found[f"versions of model {model.name}"] = sum(1 for _ in hub.models.versions(model.id))
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A hub of one user on which two demos ran."""
    with running(tmp_path_factory.mktemp("demo") / "with space", None) as hub:
        yield hub, demo(hub.state.root)[0]


def test_the_last_line_has_everything(alone: tuple[RunningHub, dict[str, Any]]) -> None:
    hub, told = alone
    assert set(told) == FIELDS
    assert all(told[field] for field in FIELDS)
    assert told["prediction"]["label"] == [0]
    assert told["endpoint"].startswith(f"{hub.url}/deployments/")
    assert {"project", "dataset", "workflow", "run", "deployment", "prediction"} <= set(
        told["seconds"]
    )


def test_a_prediction_is_what_the_models_bytes_say(
    alone: tuple[RunningHub, dict[str, Any]], tmp_path: Path
) -> None:
    hub, told = alone
    with connect(state=hub.state) as client:
        client.models.download(told["model_version"], tmp_path / "model")
    [path] = (tmp_path / "model").rglob("*.onnx")
    session = onnxruntime.InferenceSession(path)
    image = [float(random.randint(0, 16)) for _ in range(showcase.PIXELS)]
    expected = session.run(None, {showcase.INPUT: np.array([image], dtype=np.float32)})
    secret = json.loads((hub.state.secrets / "demo_key").read_text())["key"]
    url = f"{told['endpoint']}/v2/models/digits/infer"
    answer = httpx.post(
        url, json=showcase.request([image]), headers={"Authorization": f"Bearer {secret}"}
    ).json()
    got = {output["name"]: output["data"] for output in answer["outputs"]}
    names = [output.name for output in session.get_outputs()]
    for name, value in zip(names, expected, strict=True):
        wanted = np.asarray(value).ravel()
        np.testing.assert_array_equal(np.array(got[name], dtype=wanted.dtype), wanted)


def test_without_the_key_nothing_is_predicted(alone: tuple[RunningHub, dict[str, Any]]) -> None:
    _, told = alone
    url = f"{told['endpoint']}/v2/models/digits/infer"
    assert httpx.post(url, json=showcase.sample()).status_code == 401
    wrong = {"Authorization": "Bearer nonsense"}
    assert httpx.post(url, json=showcase.sample(), headers=wrong).status_code == 401


def test_a_second_demo_makes_nothing_twice(alone: tuple[RunningHub, dict[str, Any]]) -> None:
    hub, first = alone
    with connect(state=hub.state) as client:
        before = counts(client)
        second, said = demo(hub.state.root)
        assert counts(client) == before
    assert str(hub.state.secrets / "admin_password") in said
    [early, late] = re.findall(r"^http.*/hub/nablahub/sign-in/\S+$", said, re.MULTILINE)
    assert [httpx.get(link).status_code for link in (early, late, late)] == [302, 302, 403]
    assert {**second, "seconds": 0} == {**first, "seconds": 0}


def test_from_nothing_and_back_with_the_port_taken(tmp_path: Path) -> None:
    state = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        first, said = demo(state, "--exit", "--port", str(port))
        assert f"Port {port} is held by another program" in said
        assert "/hub/nablahub/sign-in/" in said
        assert not ours(RunningHub(state).state)
        second, _ = demo(state, "--exit", "--port", "0")
    ids = FIELDS - {"seconds", "urls", "endpoint"}
    assert {field: first[field] for field in ids} == {field: second[field] for field in ids}
    assert not ours(RunningHub(state).state)


def test_ctrl_c_ends_every_process(tmp_path: Path) -> None:
    state = tmp_path / "s"
    process = subprocess.Popen(
        command("demo", "--state-dir", str(state), "--port", "0"), env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stderr is not None
    for line in process.stderr:
        if "Create a workflow" in line:  # now its jobs run
            break
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert not ours(RunningHub(state).state)
    told, _ = demo(state, "--exit", "--port", "0")  # and the next one finishes the path
    assert told["prediction"]["label"] == [0]
