"""The Open Inference Protocol v2, against a real server and onnxruntime itself."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import onnxruntime
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nablahub.serving.tensors import DTYPES
from tests.unit.serving import graphs
from tests.unit.serving.process import ModelServer

INFER = "/v2/models/iris/infer"
ROW = [5.1, 3.5, 1.4, 0.2]


def tensor(data: Any, shape: list[Any], datatype: Any = "FP32", name: Any = "X") -> dict[str, Any]:
    return {"name": name, "shape": shape, "datatype": datatype, "data": data}


def by_name(answer: httpx.Response) -> dict[str, dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return {output["name"]: output for output in answer.json()["outputs"]}


def refused(answer: httpx.Response, status: int = 400) -> str:
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert list(body) == ["error"]
    assert isinstance(body["error"], str)
    return str(body["error"])


def test_server_and_health(client: httpx.Client) -> None:
    server = client.get("/v2")
    assert server.status_code == 200
    assert server.json()["name"] == "nablahub-serving"
    assert server.json()["extensions"] == []
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}


@pytest.mark.parametrize("base", ["/v2/models/iris", "/v2/models/iris/versions/abc1234"])
def test_metadata_comes_from_the_graph(client: httpx.Client, base: str) -> None:
    assert client.get(base).json() == {
        "name": "iris",
        "versions": ["abc1234"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "X", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [
            {"name": "label", "datatype": "INT64", "shape": [-1]},
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
        ],
    }
    assert client.get(f"{base}/ready").json() == {"name": "iris", "ready": True}
    assert client.post(f"{base}/infer", json={"inputs": [tensor(ROW, [1, 4])]}).status_code == 200


@given(
    rows=st.lists(
        st.lists(st.floats(-1e3, 1e3, width=32), min_size=4, max_size=4), min_size=1, max_size=9
    ),
    nested=st.booleans(),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_answers_are_onnxruntimes_to_the_bit(
    client: httpx.Client, iris_file: Path, rows: list[list[float]], nested: bool
) -> None:
    data: list[Any] = rows if nested else [x for row in rows for x in row]
    answer = by_name(client.post(INFER, json={"inputs": [tensor(data, [len(rows), 4])]}))
    session = onnxruntime.InferenceSession(str(iris_file))
    label, probabilities = session.run(None, {"X": np.array(rows, dtype=np.float32)})
    assert list(answer) == ["label", "probabilities"]
    assert answer["label"]["data"] == label.tolist()
    assert answer["label"]["datatype"] == "INT64"
    assert answer["probabilities"]["shape"] == [len(rows), 3]
    got = np.array(answer["probabilities"]["data"], dtype=np.float32).reshape(-1, 3)
    assert got.tobytes() == probabilities.tobytes()


def test_id_is_echoed_and_requested_outputs_kept_in_order(client: httpx.Client) -> None:
    request: dict[str, Any] = {"id": "r-1", "parameters": {"a": 1, "b": "x", "c": True}}
    request |= {"inputs": [{**tensor(ROW, [1, 4]), "parameters": {"note": "x"}}]}
    answer = client.post(INFER, json={**request, "outputs": [{"name": "probabilities"}]}).json()
    assert answer["id"] == "r-1"
    assert answer["model_name"] == "iris"
    assert answer["model_version"] == "abc1234"
    assert [output["name"] for output in answer["outputs"]] == ["probabilities"]
    both = [{"name": "probabilities"}, {"name": "label"}]
    answer = client.post(INFER, json={**request, "outputs": both}).json()
    assert [output["name"] for output in answer["outputs"]] == ["probabilities", "label"]
    assert "id" not in client.post(INFER, json={"inputs": [tensor(ROW, [1, 4])]}).json()


def test_an_empty_batch_is_answered_by_an_empty_one(client: httpx.Client) -> None:
    answer = by_name(client.post(INFER, json={"inputs": [tensor([], [0, 4])]}))
    assert answer["probabilities"]["shape"] == [0, 3]
    assert answer["probabilities"]["data"] == []


def test_null_is_nan_both_ways(client: httpx.Client) -> None:
    answer = by_name(client.post(INFER, json={"inputs": [tensor([None, 0, 0, 0], [1, 4])]}))
    assert answer["probabilities"]["data"] == [None, None, None]


X = tensor(ROW, [1, 4])
BAD: list[tuple[str, Any, str]] = [
    ("no inputs", {}, "inputs is missing"),
    ("inputs an object", {"inputs": {}}, "inputs must be an array, not an object"),
    ("input a number", {"inputs": [3]}, "inputs[0] must be an object"),
    ("no name", {"inputs": [{}]}, "inputs[0].name must be a string, not null"),
    ("unknown input", {"inputs": [tensor(ROW, [1, 4], name="Y")]}, 'no input "Y"'),
    ("missing input", {"inputs": []}, 'the input "X" is missing'),
    ("twice", {"inputs": [X, X]}, 'the input "X" is given twice'),
    ("no datatype", {"inputs": [{"name": "X"}]}, "inputs[0].datatype is null"),
    ("odd datatype", {"inputs": [tensor(ROW, [1, 4], "FLOAT")]}, '"FLOAT"'),
    ("other datatype", {"inputs": [tensor(ROW, [1, 4], "FP64")]}, "the model takes FP32"),
    ("list as datatype", {"inputs": [tensor(ROW, [1, 4], [])]}, "inputs[0].datatype is []"),
    ("no shape", {"inputs": [{"name": "X", "datatype": "FP32"}]}, "inputs[0].shape"),
    ("negative shape", {"inputs": [tensor(ROW, [-1, 4])]}, "inputs[0].shape holds -1"),
    ("boolean shape", {"inputs": [tensor(ROW, [True, 4])]}, "inputs[0].shape holds true"),
    ("huge shape", {"inputs": [tensor(ROW, [10**12, 4])]}, "inputs[0].shape holds 1000000000000"),
    ("huge product", {"inputs": [tensor(ROW, [2**31 - 1, 4])]}, "needs 8589934588 values"),
    ("rank", {"inputs": [tensor(ROW, [4])]}, "has the shape [4], but the model takes [-1, 4]"),
    ("dimension", {"inputs": [tensor(ROW, [2, 2])]}, "the model takes [-1, 4]"),
    ("deep shape", {"inputs": [tensor(ROW, [1] * 40)]}, "32 at most"),
    (
        "no data",
        {"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 4]}]},
        "data is missing",
    ),
    ("data a string", {"inputs": [tensor("abcd", [1, 4])]}, "data must be an array, not a string"),
    ("too few", {"inputs": [tensor([1, 2, 3], [1, 4])]}, "needs 4 values, but data has 3"),
    ("a string", {"inputs": [tensor([1, 2, "3", 4], [1, 4])]}, 'data[2] is "3"'),
    ("a boolean", {"inputs": [tensor([1, 2, 3, True], [1, 4])]}, "data[3] is true"),
    ("too big", {"inputs": [tensor([1, 1e39, 3, 4], [1, 4])]}, "data[1] is 1e+39"),
    ("ragged", {"inputs": [tensor([[1, 2, 3]], [1, 4])]}, "must hold 4 values"),
    ("mixed nesting", {"inputs": [tensor([1, [2], 3, 4], [1, 4])]}, "data[1] is [2]"),
    ("wrong nesting", {"inputs": [tensor([[1, 2, 3, 4]], [2, 4])]}, "1 nested arrays"),
    ("id a number", {"id": 5, "inputs": [X]}, "id must be a string, not a number"),
    ("parameters", {"parameters": [], "inputs": [X]}, "parameters must be an object"),
    ("parameter", {"parameters": {"a": []}, "inputs": [X]}, 'the parameter "a"'),
    ("unknown output", {"inputs": [X], "outputs": [{"name": "z"}]}, 'no output "z"'),
    ("outputs", {"inputs": [X], "outputs": "z"}, "outputs must be an array"),
    ("output", {"inputs": [X], "outputs": ["z"]}, "outputs[0] must be an object"),
    (
        "output twice",
        {"inputs": [X], "outputs": [{"name": "label"}, {"name": "label"}]},
        "asked for twice",
    ),
    (
        "binary",
        {"inputs": [{**X, "parameters": {"binary_data_size": 16}}]},
        "binary tensor data is not taken",
    ),
]


@pytest.mark.parametrize(
    ("request_body", "said"), [(b, s) for _, b, s in BAD], ids=[n for n, *_ in BAD]
)
def test_a_bad_request_is_told_what_is_wrong(
    client: httpx.Client, request_body: Any, said: str
) -> None:
    assert said in refused(client.post(INFER, json=request_body))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "empty document"),
        (b'{\n  "inputs": [,]}', "line 2, column 14"),
        (b"[1]", "must be a JSON object"),
        (b'"\xff"', "UTF-8"),
        (b'{"inputs": NaN}', "column 12"),
        (b"[" * 5000, "depth"),
    ],
)
def test_bad_json_is_told_its_place(client: httpx.Client, body: bytes, said: str) -> None:
    assert said in refused(client.post(INFER, content=body))


def test_the_binary_extension_is_refused_in_words(client: httpx.Client) -> None:
    answer = client.post(INFER, content=b"{}", headers={"Inference-Header-Content-Length": "2"})
    assert "send the inputs as JSON" in refused(answer)


def test_unknown_addresses_and_methods(client: httpx.Client) -> None:
    assert 'serves "iris"' in refused(client.get("/v2/models/other"), 404)
    assert 'serves "abc1234"' in refused(client.get("/v2/models/iris/versions/9"), 404)
    assert "/v2/models/iris/infer" in refused(client.get("/elsewhere"), 404)
    answer = client.get(INFER)
    assert "only POST" in refused(answer, 405)
    assert answer.headers["allow"] == "POST"
    assert client.post("/v2").headers["allow"] == "GET, HEAD"
    head = client.head("/v2/models/iris")
    assert head.status_code == 200
    assert head.content == b""


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)
KNOWN = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON,
        "parameters": JSON,
        "outputs": JSON | st.lists(st.fixed_dictionaries({"name": st.just("label") | JSON})),
        "inputs": JSON
        | st.lists(
            st.fixed_dictionaries(
                {},
                optional={
                    "name": st.just("X") | JSON,
                    "datatype": st.sampled_from(sorted(graphs.ELEMENTS)) | JSON,
                    "shape": st.lists(st.integers(-1, 5), max_size=3) | JSON,
                    "data": st.lists(st.floats(allow_nan=False) | st.integers(), max_size=6) | JSON,
                    "parameters": JSON,
                },
            ),
            max_size=3,
        ),
    },
)


@given(body=KNOWN.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_body_breaks_the_server(client: httpx.Client, body: bytes) -> None:
    for path in (INFER, "/api/v1.0/predictions"):
        answer = client.post(path, content=body)
        assert answer.status_code in (200, 400), answer.text
        assert answer.headers["x-content-type-options"] == "nosniff"
        answer.json()


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Iterator[httpx.Client]:
    path = graphs.every_datatype(tmp_path_factory.mktemp("typed") / "typed.onnx")
    with ModelServer(path, keys) as server, server.ready().client() as client:
        yield client


EDGES: dict[str, list[Any]] = {
    "BOOL": [True, False],
    "UINT8": [0, 255],
    "UINT16": [0, 65535],
    "UINT32": [0, 2**32 - 1],
    "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127],
    "INT16": [-(2**15), 2**15 - 1],
    "INT32": [-(2**31), 2**31 - 1],
    "INT64": [-(2**63), 2**63 - 1],
    "FP16": [-65504.0, 0.333251953125],
    "FP32": [math.pi, -1e-40],
    "FP64": [math.pi, -5e-324],
    "BYTES": ["", "grüß ∇ \u0000\n"],
}


def all_types() -> dict[str, dict[str, Any]]:
    return {name: tensor(data, [1, 2], name, f"in_{name}") for name, data in EDGES.items()}


def test_every_datatype_goes_through_unchanged(typed: httpx.Client) -> None:
    answer = by_name(
        typed.post("/v2/models/typed/infer", json={"inputs": list(all_types().values())})
    )
    for name, data in EDGES.items():
        got = answer[f"out_{name}"]
        assert got["datatype"] == name
        assert got["shape"] == [1, 2]
        if name.startswith("FP"):
            dtype = DTYPES[name]
            assert np.array(got["data"], dtype).tobytes() == np.array(data, dtype).tobytes(), name
        else:
            assert got["data"] == data, name


@pytest.mark.parametrize(
    ("datatype", "value"),
    [
        ("BOOL", 1),
        ("BOOL", "true"),
        ("UINT8", 256),
        ("UINT8", -1),
        ("UINT8", 1.0),
        ("INT8", 128),
        ("INT64", 2**63),
        ("INT64", True),
        ("INT64", None),
        ("UINT64", -1),
        ("FP16", 70000),
        ("FP32", 3.5e38),
        ("FP64", "1"),
        ("BYTES", 1),
        ("BYTES", None),
    ],
)
def test_a_value_that_does_not_fit_is_named(typed: httpx.Client, datatype: str, value: Any) -> None:
    inputs = all_types()
    inputs[datatype]["data"] = [EDGES[datatype][0], value]
    error = refused(typed.post("/v2/models/typed/infer", json={"inputs": list(inputs.values())}))
    assert f'input "in_{datatype}": data[1] is {json.dumps(value)}' in error


def test_a_zipmap_is_served_as_a_matrix_with_labels(tmp_path: Path, keys: Path) -> None:
    path = graphs.zipmap(tmp_path / "zip.onnx")
    with ModelServer(path, keys) as server, server.ready().client() as client:
        assert client.get("/v2/models/zip").json()["outputs"] == [
            {"name": "Z", "datatype": "FP32", "shape": [-1, -1]}
        ]
        request = {"inputs": [tensor([0.25, 0.75, 0.5, 0.5], [2, 2])]}
        output = by_name(client.post("/v2/models/zip/infer", json=request))["Z"]
        assert output["shape"] == [2, 2]
        assert output["data"] == [0.25, 0.75, 0.5, 0.5]
        assert json.loads(output["parameters"]["labels"]) == ["cat", "dog"]


def test_values_that_the_graph_cannot_take_are_the_clients_fault(
    tmp_path: Path, keys: Path
) -> None:
    path = graphs.picker(tmp_path / "picker.onnx")
    with ModelServer(path, keys) as server, server.ready().client() as client:
        values = tensor([10.0, 20.0, 30.0], [3], name="values")
        good = {"inputs": [values, tensor([2, 0], [2], "INT64", "index")]}
        answer = by_name(client.post("/v2/models/picker/infer", json=good))
        assert answer["picked"]["data"] == [30.0, 10.0]
        bad = {"inputs": [values, tensor([9], [1], "INT64", "index")]}
        error = refused(client.post("/v2/models/picker/infer", json=bad))
        assert "idx=9" in error
