"""Seldon's prediction route."""

from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest

from tests.unit.serving import graphs
from tests.unit.serving.process import ModelServer

URL = "/api/v1.0/predictions"
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.0, 2.9, 4.5, 1.5]]


def expected(iris_file: Path) -> bytes:
    session = onnxruntime.InferenceSession(str(iris_file))
    (wanted,) = session.run(["probabilities"], {"X": np.array(ROWS, dtype=np.float32)})
    return bytes(wanted.tobytes())


def test_ndarray(client: httpx.Client, iris_file: Path) -> None:
    request = {"data": {"names": ["a", "b", "c", "d"], "ndarray": ROWS}, "meta": {"puid": "p1"}}
    answer = client.post(URL, json=request)
    assert answer.status_code == 200
    body = answer.json()
    assert body["data"]["names"] == ["t:0", "t:1", "t:2"]
    assert np.array(body["data"]["ndarray"], np.float32).tobytes() == expected(iris_file)
    assert body["meta"] == {"puid": "p1", "requestPath": {"iris": "nablahub-serving:abc1234"}}


def test_tensor(client: httpx.Client, iris_file: Path) -> None:
    values = [x for row in ROWS for x in row]
    answer = client.post(URL, json={"data": {"tensor": {"shape": [2, 4], "values": values}}})
    tensor = answer.json()["data"]["tensor"]
    assert tensor["shape"] == [2, 3]
    assert np.array(tensor["values"], np.float32).tobytes() == expected(iris_file)


def test_json_data(client: httpx.Client, iris_file: Path) -> None:
    plain = client.post(URL, json={"jsonData": ROWS}).json()
    assert np.array(plain["jsonData"], np.float32).tobytes() == expected(iris_file)
    named = client.post(URL, json={"jsonData": {"X": ROWS}}).json()["jsonData"]
    assert list(named) == ["label", "probabilities"]
    assert len(named["label"]) == 2


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "send exactly one of data and jsonData"),
        ({"strData": "x"}, "send exactly one of data and jsonData"),
        ({"data": {"ndarray": ROWS}, "jsonData": ROWS}, "send exactly one"),
        ({"data": []}, "data must be an object"),
        ({"data": {}}, "exactly one of ndarray and tensor"),
        ({"data": {"ndarray": 3}}, "must be an array"),
        ({"data": {"ndarray": [[1, 2]]}}, "the model takes [-1, 4]"),
        ({"data": {"ndarray": [[1, 2, 3, "x"]]}}, 'data[3] is "x"'),
        ({"data": {"ndarray": [[1, 2, 3, 4], [1]]}}, "must hold 4 values"),
        ({"data": {"names": "a", "ndarray": ROWS}}, "data.names"),
        ({"data": {"tensor": {"shape": [1, 4], "values": [1]}}}, "needs 4 values"),
        ({"data": {"tensor": {"shape": "x", "values": [1]}}}, "data.tensor.shape"),
        ({"data": {"tensor": {"shape": [1, 4]}}}, "data must be an array"),
        ({"jsonData": 3}, "jsonData must be an array"),
        ({"jsonData": {"Y": ROWS}}, 'no input "Y"'),
        ({"jsonData": {}}, 'the input "X" is missing'),
        ({"meta": 3, "jsonData": ROWS}, "meta must be an object"),
    ],
    ids=str,
)
def test_errors_have_seldons_form(client: httpx.Client, body: Any, said: str) -> None:
    answer = client.post(URL, json=body)
    assert answer.status_code == 400
    status = answer.json()["status"]
    assert said in status["info"]
    assert (status["status"], status["code"]) == (1, -1)
    assert status["reason"] == "MICROSERVICE_BAD_DATA"


def test_columns_go_to_the_inputs_by_name(tmp_path: Path, keys: Path) -> None:
    path = graphs.two_columns(tmp_path / "two.onnx")
    with ModelServer(path, keys) as server, server.ready().client() as client:
        rows = [[5, 3], [1, 1]]
        in_order = client.post(URL, json={"data": {"ndarray": rows}}).json()
        assert in_order["data"]["ndarray"] == [[2.0], [0.0]]
        swapped = client.post(URL, json={"data": {"names": ["b", "a"], "ndarray": rows}}).json()
        assert swapped["data"]["ndarray"] == [[-2.0], [0.0]]
        tensor = {"tensor": {"shape": [1, 2], "values": [5, 3]}}
        assert client.post(URL, json={"data": tensor}).json()["data"]["tensor"]["values"] == [2.0]
        bad = client.post(URL, json={"data": {"names": ["x", "y"], "ndarray": rows}})
        assert "names must be" in bad.json()["status"]["info"]
        wide = client.post(URL, json={"data": {"ndarray": [[1, 2, 3]]}})
        assert "2 inputs" in wide.json()["status"]["info"]


def test_labels_of_a_zipmap_are_the_names(tmp_path: Path, keys: Path) -> None:
    path = graphs.zipmap(tmp_path / "zip.onnx")
    with ModelServer(path, keys) as server, server.ready().client() as client:
        answer = client.post(URL, json={"data": {"ndarray": [[0.25, 0.75]]}}).json()
        assert answer["data"] == {"names": ["cat", "dog"], "ndarray": [[0.25, 0.75]]}


def test_whole_floats_are_taken_for_integers(tmp_path: Path, keys: Path) -> None:
    path = graphs.picker(tmp_path / "picker.onnx")
    with ModelServer(path, keys) as server, server.ready().client() as client:
        request = {"jsonData": {"values": [10, 20, 30], "index": [2.0, 0]}}
        assert client.post(URL, json=request).json()["jsonData"] == {"picked": [30.0, 10.0]}
        request = {"jsonData": {"values": [10, 20, 30], "index": [0.5]}}
        assert "data[0] is 0.5" in client.post(URL, json=request).json()["status"]["info"]
