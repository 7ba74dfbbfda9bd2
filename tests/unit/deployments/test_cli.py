"""``nablahub deployments`` as somebody types it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from nablahub.deployments.cli import deployments
from tests.unit.deployments.conftest import Stage

SPEC = "name: iris\nmodel: mo1:one\n"


class Shell:
    """Types commands."""

    def __init__(self, stage: Stage) -> None:
        self._env = {"NABLAHUB_URL": stage.service.url, "NABLAHUB_TOKEN": "token-of-alice"}

    def __call__(self, *words: str, code: int = 0, typed: str | None = None) -> Result:
        done = CliRunner().invoke(deployments, words, env=self._env, input=typed)
        assert done.exit_code == code, done.output
        return done

    def json(self, *words: str, code: int = 0, typed: str | None = None) -> Any:
        return json.loads(self(*words, "--json", code=code, typed=typed).stdout)


@pytest.fixture
def shell(stage: Stage) -> Shell:
    return Shell(stage)


def test_from_a_spec_to_a_prediction(shell: Shell, stage: Stage, tmp_path: Path) -> None:
    file = tmp_path / "iris.yaml"
    file.write_text(SPEC)
    made = shell.json("apply", "-f", str(file), "--project", "p")
    assert (made["state"], made["serving_version"]) == ("Running", 1)
    assert [d["id"] for d in shell.json("list", "--project", "p")] == [made["id"]]
    assert "● Running" in shell("list").stdout
    shown = shell("show", "iris").stdout
    assert made["endpoint"] in shown
    assert "1 of 1 ready" in shown

    key = shell.json("keys", "create", "iris", "--name", "mine", "--expires-in", "3600")
    answer = shell.json("predict", "iris", "--key", key["key"])
    assert [output["name"] for output in answer["outputs"]] == ["label", "probabilities"]
    row = {"name": "X", "shape": [2, 4], "datatype": "FP32", "data": [0.0] * 8}
    request = json.dumps({"inputs": [row]})
    said = shell("predict", "iris", "--key", key["key"], "--data", "-", typed=request).stdout
    assert "label  INT64 [2]  [0, 0]" in said
    (listed,) = shell.json("keys", "list", "iris")
    assert (listed["id"], listed["name"]) == (key["id"], "mine")
    assert key["key"] not in shell("keys", "list", "iris").stdout
    assert shell.json("keys", "revoke", "iris", key["id"]) == {"revoked": key["id"]}
    wrong = shell("predict", "iris", "--key", "nhk_no", code=1)
    assert "It answered 401: this API key is unknown" in wrong.stderr
    assert shell.json("delete", "iris") == {"deleted": made["id"]}


def test_a_key_for_people_is_just_its_text(shell: Shell) -> None:
    shell("create", "iris", "--project", "p", "--model", "mo1:one", "--replicas", "0")
    assert shell("keys", "create", "iris").stdout.startswith("nhk_")


def test_a_model_that_cannot_be_loaded_is_exit_code_1(shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "iris.yaml"
    file.write_text("name: iris\nmodel: mo2:bad\n")
    said = shell.json("apply", "-f", str(file), "--project", "p", code=1)
    assert said["state"] == "Failed"
    assert "onnxruntime can't load broken.onnx" in said["message"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [\n", "line 2, column 1"),
        (SPEC + "replica: 2\n", "Did you mean 'replicas'?"),
        (SPEC + "instance_type: C99\n", "line 3, column 16: There is no instance type 'C99'."),
        ("name: iris\nmodel: nobody\n", "line 2, column 8: Model nobody was not found."),
    ],
)
def test_a_wrong_spec_is_told_with_line_and_column(
    shell: Shell, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "iris.yaml"
    file.write_text(text)
    done = shell("apply", "-f", str(file), "--project", "p", code=1)
    assert said in " ".join(done.stderr.split())


def test_what_is_typed_wrong_is_exit_code_2(shell: Shell) -> None:
    shell("create", "iris", "--project", "p", "--model", "mo1:one", "--replicas", "0")
    no_json = shell("predict", "iris", "--key", "k", "--data", "-", typed="{", code=2)
    assert "--data is not JSON" in no_json.stderr
    assert "no sample yet" in shell("predict", "iris", "--key", "k", code=2).stderr
    assert "was not found" in shell("show", "nobody", code=1).stderr
