"""A small model that nobody trained: three numbers in, two out, exact in float32."""

from __future__ import annotations

from random import Random
from typing import Any

from onnx import TensorProto, checker, helper

WEIGHTS = ((1, -2), (4, 8), (-16, 32))


def model_bytes() -> bytes:
    """Return it in the ONNX format."""
    flat = [float(weight) for row in WEIGHTS for weight in row]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor("weights", TensorProto.FLOAT, (3, 2), flat)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model)
    found: bytes = model.SerializeToString()
    return found


def question(chance: Random) -> tuple[dict[str, Any], list[float]]:
    """Return a drawn request (Open Inference Protocol v2) and the answer that is right."""
    given = [chance.randrange(-100, 100) for _ in range(3)]
    right = [
        float(sum(x * row[column] for x, row in zip(given, WEIGHTS, strict=True)))
        for column in range(2)
    ]
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": given}
    return {"inputs": [tensor]}, right
