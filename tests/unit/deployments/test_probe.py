"""Samples made up from a model's metadata."""

from __future__ import annotations

from nablahub.deployments.probe import invent


def declared(datatype: str, shape: list[int]) -> dict[str, object]:
    return {"name": f"in_{datatype}", "datatype": datatype, "shape": shape}


def test_one_row_of_zeros_for_each_input() -> None:
    inputs = [declared("FP32", [-1, 2]), declared("BYTES", [-1, 1]), declared("BOOL", [])]
    assert invent({"inputs": inputs}) == {
        "inputs": [
            {"name": "in_FP32", "datatype": "FP32", "shape": [1, 2], "data": [0, 0]},
            {"name": "in_BYTES", "datatype": "BYTES", "shape": [1, 1], "data": [""]},
            {"name": "in_BOOL", "datatype": "BOOL", "shape": [], "data": [False]},
        ]
    }


def test_nothing_is_made_up_where_nothing_is_declared_or_too_much() -> None:
    assert invent({"inputs": []}) is None
    assert invent({"inputs": [declared("FP32", [-1, 3, 4096, 4096])]}) is None
