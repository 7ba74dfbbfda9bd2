"""The Open Inference Protocol, version 2, over REST.

Source: https://github.com/kserve/open-inference-protocol, ``inference_rest.md``. The binary
tensor extension is not offered; a request that uses it is refused in words.
"""

from typing import Any

from nablahub.serving.errors import BadRequest, NotFound
from nablahub.serving.host import ModelHost
from nablahub.serving.messages import Request, Response, dump, load_object
from nablahub.serving.models.base import Prediction
from nablahub.serving.tensors import (
    DTYPES,
    Array,
    checked_shape,
    datatype_of,
    decode,
    flat_data,
    kind,
    quoted,
)

SERVER_NAME = "nablahub-serving"
SERVER_VERSION = "0.1.0"
_SCALARS = (str, int, float, bool)


class V2:
    """Answers the protocol's requests from one model."""

    def __init__(self, host: ModelHost) -> None:
        self._host = host

    def server(self, request: Request) -> Response:
        """``GET /v2``."""
        return _json({"name": SERVER_NAME, "version": SERVER_VERSION, "extensions": []})

    def live(self, request: Request) -> Response:
        """``GET /v2/health/live``: the process answers."""
        return _json({"live": True})

    def ready(self, request: Request) -> Response:
        """``GET /v2/health/ready``: every model is loaded; 503 until then."""
        ready = self._host.ready
        return _json({"ready": ready}, 200 if ready else 503)

    def model_ready(self, request: Request) -> Response:
        """``GET /v2/models/{model}/ready``."""
        ready = self._host.ready
        return _json({"name": self._host.name, "ready": ready}, 200 if ready else 503)

    def metadata(self, request: Request) -> Response:
        """``GET /v2/models/{model}``."""
        model = self._host.model
        return _json(
            {
                "name": self._host.name,
                "versions": [self._host.version],
                "platform": model.platform,
                "inputs": [spec.describe() for spec in model.inputs],
                "outputs": [spec.describe() for spec in model.outputs],
            }
        )

    def infer(self, request: Request) -> Response:
        """``POST /v2/models/{model}/infer``."""
        if b"inference-header-content-length" in request.headers:
            raise BadRequest(
                "this server doesn't take the binary tensor extension; send the inputs as JSON "
                "(tritonclient: set_data_from_numpy(…, binary_data=False))"
            )
        document = load_object(request.body)
        identifier = document.get("id")
        if identifier is not None and not isinstance(identifier, str):
            raise BadRequest(f"id must be a string, not {kind(identifier)}")
        _parameters(document, "the request")
        inputs = self._inputs(document)
        names = _requested(document)
        prediction = self._host.predict(inputs, names)
        answer: dict[str, Any] = {
            "model_name": self._host.name,
            "model_version": self._host.version,
        }
        if identifier is not None:
            answer["id"] = identifier
        answer["outputs"] = _outputs(prediction)
        return _json(answer)

    def _inputs(self, document: dict[str, Any]) -> dict[str, Array]:
        tensors = document.get("inputs")
        if not isinstance(tensors, list):
            said = "is missing" if tensors is None else f"must be an array, not {kind(tensors)}"
            raise BadRequest(
                f"inputs {said}; send a list of tensors with name, shape, datatype, data"
            )
        arrays: dict[str, Array] = {}
        for index, tensor in enumerate(tensors):
            if not isinstance(tensor, dict):
                raise BadRequest(f"inputs[{index}] must be an object, not {kind(tensor)}")
            name = tensor.get("name")
            if not isinstance(name, str):
                raise BadRequest(f"inputs[{index}].name must be a string, not {kind(name)}")
            if name in arrays:
                raise BadRequest(f"the input {quoted(name)} is given twice")
            arrays[name] = self._tensor(index, name, tensor)
        self._host.require_all(arrays)
        return arrays

    def _tensor(self, index: int, name: str, tensor: dict[str, Any]) -> Array:
        # Loading comes before any complaint about tensors that can't be known yet.
        _ = self._host.model
        spec = self._host.spec(name)
        datatype = tensor.get("datatype")
        if not isinstance(datatype, str) or datatype not in DTYPES:
            raise BadRequest(
                f"inputs[{index}].datatype is {quoted(datatype)}; "
                f"it must be one of {', '.join(DTYPES)}"
            )
        if spec is not None and datatype != spec.datatype:
            raise BadRequest(
                f"input {quoted(name)} has the datatype {datatype}, but the model takes "
                f"{spec.datatype}"
            )
        shape = checked_shape(f"inputs[{index}]", tensor.get("shape"))
        if spec is not None:
            spec.check(shape)
        _parameters(tensor, f"inputs[{index}]")
        if "data" not in tensor:
            raise BadRequest(f"inputs[{index}].data is missing")
        return decode(name, datatype, shape, tensor["data"])


def not_this_model(name: str, wanted: str) -> NotFound:
    """Say which model is served instead of the one asked for."""
    return NotFound(f"no model {quoted(wanted)} here; this server serves {quoted(name)}")


def _requested(document: dict[str, Any]) -> list[str]:
    """Return the names of the requested outputs; empty for all."""
    outputs = document.get("outputs")
    if outputs is None:
        return []
    if not isinstance(outputs, list):
        raise BadRequest(f"outputs must be an array, not {kind(outputs)}")
    names: list[str] = []
    for index, output in enumerate(outputs):
        if not isinstance(output, dict) or not isinstance(output.get("name"), str):
            raise BadRequest(f"outputs[{index}] must be an object with a name (a string)")
        _parameters(output, f"outputs[{index}]")
        if output["name"] in names:
            raise BadRequest(f"the output {quoted(output['name'])} is asked for twice")
        names.append(output["name"])
    return names


def _parameters(owner: dict[str, Any], where: str) -> None:
    """Check ``parameters``; this server acts on none of them."""
    parameters = owner.get("parameters")
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise BadRequest(f"{where}: parameters must be an object, not {kind(parameters)}")
    for name, value in parameters.items():
        if not isinstance(value, _SCALARS):
            raise BadRequest(
                f"{where}: the parameter {quoted(name)} must be a string, a number or a boolean, "
                f"not {kind(value)}"
            )
    if "binary_data_size" in parameters:
        raise BadRequest(f"{where}: binary tensor data is not taken; send data as JSON")


def _outputs(prediction: Prediction) -> list[dict[str, Any]]:
    tensors: list[dict[str, Any]] = []
    for name, array in prediction.outputs.items():
        tensor = {
            "name": name,
            "datatype": datatype_of(array),
            "shape": array.shape,
            "data": flat_data(array),
        }
        if name in prediction.labels:
            # Parameters are scalars in the protocol, so the columns' names are one JSON text.
            tensor["parameters"] = {"labels": dump(prediction.labels[name]).decode()}
        tensors.append(tensor)
    return tensors


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, dump(value))
