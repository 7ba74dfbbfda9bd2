"""Seldon Core's ``POST /api/v1.0/predictions``, as its Python wrapper (1.x) answers it.

The payload carries one matrix without a datatype: ``data.ndarray`` (nested arrays),
``data.tensor`` (``shape`` and ``values``) or ``jsonData`` (an array as ``ndarray``, or an object
of arrays by input name). The answer comes in the form of the request. Source:
https://docs.seldon.io/projects/seldon-core/en/v1.17.1/reference/apis/external-prediction.html
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nablahub.serving.errors import BadRequest, ServingError
from nablahub.serving.host import ModelHost
from nablahub.serving.messages import Request, Response, dump, load_object
from nablahub.serving.models.base import Prediction
from nablahub.serving.tensors import (
    FLOATS,
    Array,
    TensorSpec,
    checked_shape,
    decode,
    flat_data,
    kind,
    quoted,
)

SERVER_NAME = "nablahub-serving"


class Seldon:
    """Answers Seldon's prediction requests from one model."""

    def __init__(self, host: ModelHost) -> None:
        self._host = host

    def predictions(self, request: Request) -> Response:
        """``POST /api/v1.0/predictions``."""
        document = load_object(request.body)
        meta = _object(document, "meta")
        forms = [form for form in ("data", "jsonData", "strData", "binData") if form in document]
        if len(forms) != 1 or forms[0] in ("strData", "binData"):
            raise BadRequest(
                f"the request has {quoted(forms)}; send exactly one of data and jsonData"
            )
        _ = self._host.model
        if forms[0] == "jsonData":
            answer = {"jsonData": self._json_data(document["jsonData"])}
        else:
            answer = {"data": self._data(_object(document, "data"))}
        kept: dict[str, Any] = {name: meta[name] for name in ("puid", "tags") if name in meta}
        kept["requestPath"] = {self._host.name: f"{SERVER_NAME}:{self._host.version}"}
        return Response(200, dump({**answer, "meta": kept}))

    def _data(self, data: dict[str, Any]) -> dict[str, Any]:
        names = data.get("names") or []
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise BadRequest("data.names must be an array of strings")
        forms = [form for form in ("ndarray", "tensor") if form in data]
        if len(forms) != 1:
            raise BadRequest("data needs exactly one of ndarray and tensor")
        if forms[0] == "ndarray":
            rows: Any = data["ndarray"]
            shape = _nesting(rows)
        else:
            tensor = _object(data, "tensor")
            rows = tensor.get("values")
            shape = checked_shape("data.tensor", tensor.get("shape"))
        output, array, labels = self._predict(self._split(rows, shape, names))
        answer: dict[str, Any] = {"names": labels or [f"t:{i}" for i in range(_columns(array))]}
        if forms[0] == "tensor":
            if array.dtype.kind in "USO":
                raise BadRequest(f"the output {quoted(output)} is text; ask with data.ndarray")
            answer["tensor"] = {"shape": array.shape, "values": flat_data(array)}
        else:
            answer["ndarray"] = _nested(array)
        return answer

    def _json_data(self, value: Any) -> Any:
        if isinstance(value, list):
            return _nested(self._predict(self._split(value, _nesting(value), []))[1])
        if not isinstance(value, dict):
            raise BadRequest(
                f"jsonData must be an array, or an object of arrays by input name, "
                f"not {kind(value)}"
            )
        inputs = {name: self._array(name, rows, _nesting(rows)) for name, rows in value.items()}
        self._host.require_all(inputs)
        prediction = self._host.predict(inputs, [])
        return {name: _nested(array) for name, array in prediction.outputs.items()}

    def _split(self, rows: Any, shape: Sequence[int], names: list[str]) -> dict[str, Array]:
        """Lay one matrix onto the model's inputs: whole, or a column to each."""
        specs = self._host.model.inputs
        if len(specs) <= 1:
            name = specs[0].name if specs else "input"
            return {name: self._array(name, rows, shape)}
        if len(shape) != 2 or shape[1] != len(specs):
            raise BadRequest(
                f"the model takes {len(specs)} inputs ({', '.join(s.name for s in specs)}), so "
                f"the data must have that many columns; its shape is {list(shape)}"
            )
        order = names or [spec.name for spec in specs]
        if sorted(order) != sorted(spec.name for spec in specs):
            raise BadRequest(
                f"names must be the model's inputs: {quoted([spec.name for spec in specs])}"
            )
        if rows and not isinstance(rows[0], list):
            rows = [rows[i : i + shape[1]] for i in range(0, len(rows), shape[1])]
        return {
            name: self._array(name, [[row[i]] for row in rows], [shape[0], 1])
            for i, name in enumerate(order)
        }

    def _array(self, name: str, rows: Any, shape: Sequence[int]) -> Array:
        spec = self._host.spec(name)
        if spec is None:
            return _guess(name, rows, shape)
        spec.check(shape)
        return decode(name, spec.datatype, shape, _whole(spec, rows))

    def _predict(self, inputs: dict[str, Array]) -> tuple[str, Array, list[str]]:
        """Run the model; of several outputs Seldon's answer has room for one."""
        prediction = self._host.predict(inputs, [])
        name = _main_output(prediction)
        return name, prediction.outputs[name], list(prediction.labels.get(name, []))


def failure(error: ServingError) -> bytes:
    """Write an error as Seldon's wrapper does."""
    reason = "MICROSERVICE_BAD_DATA" if error.status < 500 else "MICROSERVICE_INTERNAL_ERROR"
    status = {"status": 1, "info": error.message, "code": -1, "reason": reason}
    return dump({"status": status})


def _main_output(prediction: Prediction) -> str:
    """Choose the matrix of probabilities or scores where there is one, else the first output."""
    for name, array in prediction.outputs.items():
        if array.ndim == 2 and array.dtype.kind == "f":
            return name
    return next(iter(prediction.outputs))


def _object(owner: dict[str, Any], name: str) -> dict[str, Any]:
    value = owner.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"{name} must be an object, not {kind(value)}")
    return value


def _nesting(rows: Any) -> list[int]:
    """Return the shape of nested arrays by their first elements; decoding checks the others."""
    shape: list[int] = []
    while isinstance(rows, list):
        shape.append(len(rows))
        if len(shape) > 32:
            raise BadRequest("the data is nested more than 32 deep")
        rows = rows[0] if rows else None
    if not shape:
        raise BadRequest(f"the data must be an array, not {kind(rows)}")
    return shape


def _whole(spec: TensorSpec, rows: Any) -> Any:
    """Take 3.0 for 3 where the model wants integers: Seldon's clients send numbers as floats."""
    if spec.datatype in FLOATS or spec.datatype in ("BYTES", "BOOL"):
        return rows
    if isinstance(rows, list):
        return [_whole(spec, row) for row in rows]
    return int(rows) if isinstance(rows, float) and rows.is_integer() else rows


def _guess(name: str, rows: Any, shape: Sequence[int]) -> Array:
    """Make an array for a model that declares nothing: numbers where all are, else text."""
    leaf = rows
    while isinstance(leaf, list) and leaf:
        leaf = leaf[0]
    datatype = (
        "BYTES" if isinstance(leaf, str) else "BOOL" if leaf is True or leaf is False else "FP64"
    )
    return decode(name, datatype, shape, rows)


def _columns(array: Array) -> int:
    return array.shape[1] if array.ndim == 2 else 0


def _nested(array: Array) -> Any:
    if array.dtype.kind in "USO":
        return np.array(flat_data(array), dtype=object).reshape(array.shape).tolist()
    # Through the writer's own numpy support, so that float32 keeps its shortest form.
    return np.ascontiguousarray(array) if array.ndim else array.item()
