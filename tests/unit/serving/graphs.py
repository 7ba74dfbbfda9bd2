"""Small ONNX graphs for the tests, made on the spot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

# The protocol's datatypes and ONNX's element types.
ELEMENTS = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}


def save(path: Path, nodes: list[Any], inputs: list[Any], outputs: list[Any], **more: Any) -> Path:
    """Write a checked model with these nodes."""
    graph = helper.make_graph(nodes, "graph", inputs, outputs, **more)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path


def value(name: str, element: int, shape: Sequence[int | str | None] | None) -> Any:
    """Declare an input or output."""
    return helper.make_tensor_value_info(name, element, shape)


def classifier(path: Path, features: int = 4, classes: int = 3, seed: int = 7) -> Path:
    """A softmax regression with the outputs ``label`` and ``probabilities``."""
    weights = np.random.default_rng(seed).normal(size=(features, classes)).astype(np.float32)
    return save(
        path,
        [
            helper.make_node("MatMul", ["X", "W"], ["logits"]),
            helper.make_node("ArgMax", ["logits"], ["label"], axis=1, keepdims=0),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        ],
        [value("X", TensorProto.FLOAT, ["N", features])],
        [
            value("label", TensorProto.INT64, ["N"]),
            value("probabilities", TensorProto.FLOAT, ["N", classes]),
        ],
        initializer=[onnx.numpy_helper.from_array(weights, "W")],
    )


def every_datatype(path: Path) -> Path:
    """One input and one equal output of each datatype."""
    return save(
        path,
        [helper.make_node("Identity", [f"in_{t}"], [f"out_{t}"]) for t in ELEMENTS],
        [value(f"in_{t}", e, ["N", "M"]) for t, e in ELEMENTS.items()],
        [value(f"out_{t}", e, ["N", "M"]) for t, e in ELEMENTS.items()],
    )


def zipmap(path: Path) -> Path:
    """A graph that ends in a ZipMap, as skl2onnx makes them by default."""
    return save(
        path,
        [
            helper.make_node(
                "ZipMap", ["X"], ["Z"], domain="ai.onnx.ml", classlabels_strings=["cat", "dog"]
            )
        ],
        [value("X", TensorProto.FLOAT, ["N", 2])],
        [
            helper.make_value_info(
                "Z",
                helper.make_sequence_type_proto(
                    helper.make_map_type_proto(
                        TensorProto.STRING, helper.make_tensor_type_proto(TensorProto.FLOAT, [])
                    )
                ),
            )
        ],
    )


def two_columns(path: Path) -> Path:
    """Two inputs of one column each; the output is ``a - b``."""
    return save(
        path,
        [helper.make_node("Sub", ["a", "b"], ["difference"])],
        [value("a", TensorProto.FLOAT, ["N", 1]), value("b", TensorProto.FLOAT, ["N", 1])],
        [value("difference", TensorProto.FLOAT, ["N", 1])],
    )


def picker(path: Path) -> Path:
    """Picks element ``index`` out of three: an index out of range fails inside the graph."""
    return save(
        path,
        [helper.make_node("Gather", ["values", "index"], ["picked"], axis=0)],
        [value("values", TensorProto.FLOAT, [3]), value("index", TensorProto.INT64, ["N"])],
        [value("picked", TensorProto.FLOAT, ["N"])],
    )
