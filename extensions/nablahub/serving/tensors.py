"""Tensors of the Open Inference Protocol: JSON arrays to numpy and back.

Source: https://github.com/kserve/open-inference-protocol, ``specification/protocol``
(``inference_rest.md`` and the table of datatypes in ``required_api``).
"""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from nablahub.serving.errors import BadRequest

type Array = npt.NDArray[Any]

DTYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BYTES": np.dtype(object),
}
DATATYPES = {dtype: name for name, dtype in DTYPES.items()}
FLOATS = frozenset({"FP16", "FP32", "FP64"})

# JSON has no NaN or infinity, so null stands for NaN both ways, as in the answers.
_NUMBERS: frozenset[type] = frozenset({int, float, type(None)})


def _json_types(datatype: str) -> frozenset[type]:
    """Return the Python types of the JSON values that a datatype takes."""
    if datatype in FLOATS:
        return _NUMBERS
    return frozenset({{"BOOL": bool, "BYTES": str}.get(datatype, int)})


_ALLOWED = {name: _json_types(name) for name in DTYPES}
_WANTED = {"BOOL": "true or false", "BYTES": "a string"}
MAX_RANK = 32
MAX_DIMENSION = 2**31 - 1


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model, as its metadata declares it.

    Parameters
    ----------
    name
        The tensor's name.
    datatype
        One of the protocol's datatypes (``FP32``, ``BYTES``…).
    shape
        Its dimensions; -1 where any size is taken; None where even the rank is open.
    """

    name: str
    datatype: str
    shape: tuple[int, ...] | None

    def describe(self) -> dict[str, Any]:
        """Return the metadata tensor of the protocol."""
        shape = [-1] if self.shape is None else list(self.shape)
        return {"name": self.name, "datatype": self.datatype, "shape": shape}

    def check(self, shape: Sequence[int]) -> None:
        """Refuse a shape that this tensor can't have.

        Raises
        ------
        BadRequest
            The rank or a fixed dimension differs.
        """
        if self.shape is None:
            return
        fits = len(shape) == len(self.shape) and all(
            want in (-1, got) for want, got in zip(self.shape, shape, strict=True)
        )
        if not fits:
            raise BadRequest(
                f"input {quoted(self.name)} has the shape {list(shape)}, but the model takes "
                f"{list(self.shape)} (-1 = any size)"
            )


def quoted(value: object) -> str:
    """Show a value of the client's in a message, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 80 else text[:77] + "…"


def decode(name: str, datatype: str, shape: Sequence[int], data: object) -> Array:
    """Turn the ``data`` of a request tensor into an array.

    Parameters
    ----------
    name
        The tensor's name, for messages.
    datatype
        A key of ``DTYPES``.
    shape
        The declared dimensions, each ≥ 0.
    data
        A flat array in row-major order, or one nested as the shape says.

    Raises
    ------
    BadRequest
        The data doesn't fit the datatype or the shape.
    """
    if not isinstance(data, list):
        raise BadRequest(f"input {quoted(name)}: data must be an array, not {kind(data)}")
    flat = _flatten(name, shape, data) if data and isinstance(data[0], list) else data
    count = math.prod(shape)
    if len(flat) != count:
        raise BadRequest(
            f"input {quoted(name)}: the shape {list(shape)} needs {count} values, "
            f"but data has {len(flat)}"
        )
    if not _ALLOWED[datatype].issuperset(map(type, flat)):
        raise _misfit(name, datatype, flat, lambda value: type(value) in _ALLOWED[datatype])
    dtype = DTYPES[datatype]
    try:
        if datatype == "FP32" or datatype == "FP16":
            with np.errstate(over="raise"):
                array: Array = np.array(flat, dtype=np.float64).astype(dtype)
        else:
            array = np.array(flat, dtype=dtype)
        return array.reshape(shape)
    except (OverflowError, FloatingPointError):
        raise _misfit(name, datatype, flat, lambda value: _holds(dtype, value)) from None
    except ValueError as error:
        raise BadRequest(f"input {quoted(name)}: {error}") from None


def checked_shape(where: str, shape: object) -> list[int]:
    """Read the ``shape`` of a request tensor.

    Raises
    ------
    BadRequest
        It isn't an array of sizes.
    """
    if not isinstance(shape, list):
        raise BadRequest(f"{where}.shape must be an array of integers, not {kind(shape)}")
    if len(shape) > MAX_RANK:
        raise BadRequest(f"{where}.shape has {len(shape)} dimensions; {MAX_RANK} at most")
    for size in shape:
        if type(size) is not int or not 0 <= size <= MAX_DIMENSION:
            raise BadRequest(
                f"{where}.shape holds {quoted(size)}; each dimension must be an integer "
                f"from 0 to {MAX_DIMENSION}"
            )
    return shape


def kind(value: object) -> str:
    """Name the JSON type of a value."""
    if value is None:
        return "null"
    names: dict[type, str] = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "an array",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


def _flatten(name: str, shape: Sequence[int], rows: list[Any]) -> list[Any]:
    """Flatten nested arrays whose nesting must be exactly the shape."""
    level: list[Any] = rows
    if len(level) != (shape[0] if shape else -1):
        raise BadRequest(
            f"input {quoted(name)}: data is {len(level)} nested arrays, "
            f"but the shape is {list(shape)}"
        )
    for depth, size in enumerate(shape[1:], start=1):
        for index, row in enumerate(level):
            if not isinstance(row, list) or len(row) != size:
                got = f"{len(row)} values" if isinstance(row, list) else kind(row)
                raise BadRequest(
                    f"input {quoted(name)}: nested array {index} at depth {depth} must hold "
                    f"{size} values (shape {list(shape)}), not {got}"
                )
        level = list(chain.from_iterable(level))
    return level


def _holds(dtype: np.dtype[Any], value: Any) -> bool:
    """Whether one number fits into a dtype."""
    try:
        with np.errstate(over="raise"):
            np.array(value, dtype=np.float64 if dtype.kind == "f" else dtype).astype(dtype)
    except (OverflowError, FloatingPointError):
        return False
    return True


def _misfit(name: str, datatype: str, flat: list[Any], fits: Callable[[Any], bool]) -> BadRequest:
    """Name the first value that the datatype can't hold."""
    for index, value in enumerate(flat):
        if not fits(value):
            default = "a number" if datatype in FLOATS else "an integer"
            wanted = _WANTED.get(datatype, default)
            return BadRequest(
                f"input {quoted(name)}: data[{index}] is {quoted(value)}, "
                f"but {datatype} takes {wanted} in its range"
            )
    return BadRequest(f"input {quoted(name)}: data does not fit {datatype}")


def datatype_of(array: Array) -> str:
    """Return the protocol's datatype of an array.

    Raises
    ------
    TypeError
        The protocol has none for this dtype.
    """
    if array.dtype.kind in "USO":
        return "BYTES"
    try:
        return DATATYPES[array.dtype.newbyteorder("=")]
    except KeyError:
        raise TypeError(f"the protocol has no datatype for numpy's {array.dtype}") from None


def flat_data(array: Array) -> Any:
    """Return the values in row-major order, as the JSON writer takes them."""
    if array.dtype.kind in "USO":
        return [text(value) for value in array.ravel().tolist()]
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    return np.ascontiguousarray(array).reshape(-1)


def text(value: object) -> str:
    """Return a BYTES element as JSON text."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
