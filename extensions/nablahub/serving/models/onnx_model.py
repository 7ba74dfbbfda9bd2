"""ONNX models, run by onnxruntime on the CPU."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from nablahub.serving.errors import BadRequest, ModelError, ModelFailed
from nablahub.serving.models.base import Prediction
from nablahub.serving.tensors import Array, TensorSpec

PLATFORM = "onnx_onnxv1"
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_TYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}
# skl2onnx's ZipMap: a dictionary of class → probability for each row, served as a matrix.
_MAPS = {
    "seq(map(int64,tensor(float)))": "FP32",
    "seq(map(string,tensor(float)))": "FP32",
    "seq(map(int64,tensor(double)))": "FP64",
    "seq(map(string,tensor(double)))": "FP64",
}


class OnnxModel:
    """An ONNX graph in an onnxruntime session.

    Parameters
    ----------
    path
        The ``.onnx`` file.
    threads
        Threads of one run; 1 is the quickest for the small models that are served most.

    Raises
    ------
    ModelError
        onnxruntime can't load the file, or a tensor has a type that JSON can't carry.
    """

    platform = PLATFORM

    def __init__(self, path: Path, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            raise ModelError(f"onnxruntime can't load {path.name}: {_clean(error)}") from error
        self.inputs = tuple(_spec(node, "input") for node in self._session.get_inputs())
        self.outputs = tuple(_spec(node, "output") for node in self._session.get_outputs())
        self._maps = {n.name for n in self._session.get_outputs() if n.type in _MAPS}
        self._names = [spec.name for spec in self.outputs]
        self._datatypes = {spec.name: spec.datatype for spec in self.outputs}

    def predict(self, inputs: Mapping[str, Array], names: Sequence[str]) -> Prediction:
        """Run the graph; only the wanted outputs are computed."""
        wanted = list(names) or self._names
        try:
            values = self._session.run(wanted, inputs)
        except InvalidArgument as error:
            raise BadRequest(f"the model does not take this input: {_clean(error)}") from error
        except (Fail, RuntimeException) as error:
            # A node that fails on these values (an index out of range, a reshape that can't
            # be) is the request's fault; whatever else goes wrong is ours.
            if "while running" in str(error) and "bad_alloc" not in str(error):
                raise BadRequest(f"the model can't run on this input: {_clean(error)}") from error
            raise ModelFailed(f"onnxruntime failed: {_clean(error)}") from error
        if not self._maps:
            return Prediction(dict(zip(wanted, values, strict=True)))
        return self._unzip(wanted, values)

    def _unzip(self, wanted: list[str], values: list[Any]) -> Prediction:
        """Turn lists of dictionaries into matrices with named columns."""
        arrays: dict[str, Array] = {}
        labels: dict[str, list[str]] = {}
        for name, value in zip(wanted, values, strict=True):
            if name not in self._maps:
                arrays[name] = value
                continue
            columns = list(value[0]) if value else []
            dtype = np.float32 if self._datatypes[name] == "FP32" else np.float64
            rows = [[row[column] for column in columns] for row in value]
            arrays[name] = np.array(rows, dtype=dtype).reshape(len(rows), len(columns))
            labels[name] = [str(column) for column in columns]
        return Prediction(arrays, labels)


def _spec(node: Any, role: str) -> TensorSpec:
    if role == "output" and node.type in _MAPS:
        return TensorSpec(node.name, _MAPS[node.type], (-1, -1))
    inner = node.type.removeprefix("tensor(").removesuffix(")")
    if inner not in _TYPES or not node.type.startswith("tensor("):
        raise ModelError(
            f"the model's {role} {json.dumps(node.name)} has the type {node.type}, which the "
            "Open Inference Protocol can't carry as JSON; convert it in the graph"
        )
    # onnxruntime shows a scalar and a tensor of unknown rank alike: by no dimensions.
    shape = tuple(d if isinstance(d, int) and d >= 0 else -1 for d in node.shape) or None
    return TensorSpec(node.name, _TYPES[inner], shape)


def _clean(error: Exception) -> str:
    """Drop onnxruntime's ``[ONNXRuntimeError] : 2 : INVALID_ARGUMENT :`` prefix."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return _CODE.sub("", lines[0])
