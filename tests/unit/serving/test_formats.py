"""scikit-learn models, a user's class, and models that can't be loaded."""

from pathlib import Path

import joblib
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression

from tests.unit.serving.process import ModelServer

X = np.random.default_rng(3).normal(size=(60, 3))
Y = np.array(["low", "high"])[(X.sum(axis=1) > 0).astype(int)]


def request(rows: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> dict[str, object]:
    data = rows.ravel().tolist()
    tensor = {"name": "input", "datatype": "FP64", "shape": list(rows.shape), "data": data}
    return {"inputs": [tensor]}


def test_a_scikit_learn_classifier(tmp_path: Path, keys: Path) -> None:
    model = LogisticRegression().fit(X, Y)
    joblib.dump(model, tmp_path / "model.joblib")
    arguments = ["--name", "c", "--format", "sklearn"]
    with ModelServer(tmp_path, keys, arguments) as server, server.ready().client() as client:
        metadata = client.get("/v2/models/c").json()
        assert metadata["inputs"] == [{"name": "input", "datatype": "FP64", "shape": [-1, 3]}]
        assert metadata["outputs"][1] == {
            "name": "predict_proba",
            "datatype": "FP64",
            "shape": [-1, 2],
        }
        label, proba = client.post("/v2/models/c/infer", json=request(X[:4])).json()["outputs"]
        assert (label["datatype"], label["data"]) == ("BYTES", model.predict(X[:4]).tolist())
        assert proba["data"] == model.predict_proba(X[:4]).ravel().tolist()
        old = client.post("/api/v1.0/predictions", json={"data": {"ndarray": X[:1].tolist()}})
        assert old.json()["data"]["names"] == ["high", "low"]


def test_a_scikit_learn_regressor(tmp_path: Path, keys: Path) -> None:
    model = LinearRegression().fit(X, X[:, 0])
    joblib.dump(model, tmp_path / "model.pkl")
    arguments = ["--name", "r", "--format", "sklearn"]
    with ModelServer(tmp_path, keys, arguments) as server, server.ready().client() as client:
        (output,) = client.post("/v2/models/r/infer", json=request(X[:2])).json()["outputs"]
        assert output["data"] == model.predict(X[:2]).tolist()
        bad = request(X[:2])
        bad["inputs"][0]["data"][0] = None  # type: ignore[index]  # the test's own JSON
        assert "NaN" in client.post("/v2/models/r/infer", json=bad).json()["error"]


CLASS = """
import helper
class Model:
    def predict(self, inputs):
        if "fail" in inputs:
            raise RuntimeError("on purpose")
        if "bad" in inputs:
            raise ValueError("no such thing")
        return {"twice": helper.twice(inputs["x"])}
"""


def test_a_users_class(tmp_path: Path, keys: Path) -> None:
    (tmp_path / "model.py").write_text(CLASS)
    (tmp_path / "helper.py").write_text("def twice(x):\n    return x * 2\n")
    arguments = ["--name", "u", "--format", "custom"]

    def ask(name: str) -> dict[str, object]:
        return {"inputs": [{"name": name, "datatype": "INT32", "shape": [2], "data": [1, 2]}]}

    with ModelServer(tmp_path, keys, arguments) as server, server.ready().client() as client:
        url = "/v2/models/u/infer"
        assert client.post(url, json=ask("x")).json()["outputs"] == [
            {"name": "twice", "datatype": "INT32", "shape": [2], "data": [2, 4]}
        ]
        assert client.post(url, json=ask("bad")).status_code == 400
        failed = client.post(url, json=ask("fail"))
        assert failed.status_code == 500
        assert "RuntimeError: on purpose" in failed.json()["error"]
        unknown = client.post(url, json={**ask("x"), "outputs": [{"name": "z"}]})
        assert unknown.status_code == 400


@pytest.mark.parametrize(
    ("files", "kind", "said"),
    [
        ({}, "onnx", "hold no *.onnx"),
        ({"a.onnx": b"x", "b/c.onnx": b"x"}, "onnx", "2 files *.onnx (a.onnx, b/c.onnx); keep one"),
        ({"a.onnx": b"not a model"}, "onnx", "onnxruntime can't load a.onnx"),
        ({"a.joblib": b"not a model"}, "sklearn", "a.joblib can't be loaded by joblib"),
        ({"model.py": b"1/0"}, "custom", "model.py failed to load: ZeroDivisionError"),
        ({"model.py": b"class Model: pass"}, "custom", "has no method predict(inputs)"),
    ],
    ids=str,
)
def test_a_model_that_cannot_be_loaded_ends_the_server_in_words(
    tmp_path: Path, keys: Path, files: dict[str, bytes], kind: str, said: str
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    with ModelServer(tmp_path, keys, ["--name", "m", "--format", kind]) as server:
        assert server.process.wait(60) == 1
        server.stop()
    assert "the model can't be served: " in server.said()
    assert said in server.said()
