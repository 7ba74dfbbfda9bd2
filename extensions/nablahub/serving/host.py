"""The model being served: loading, ready, or gone wrong, and what may be asked of it."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from nablahub.serving.errors import BadRequest, NotReady, ServingError
from nablahub.serving.models.base import Model, Prediction
from nablahub.serving.tensors import DTYPES, Array, TensorSpec, quoted

# A run longer than this would keep the event loop from its other clients, health included.
SLOW_SECONDS = 0.005


class ModelHost:
    """Holds one model version under its name.

    Parameters
    ----------
    name, version
        As the routes and the answers show them.
    """

    def __init__(self, name: str, version: str) -> None:
        self.name = name
        self.version = version
        self.draining = False
        self._model: Model | None = None
        self._inputs: dict[str, TensorSpec] = {}
        self._outputs: frozenset[str] = frozenset()
        # Until it has been seen to be quick, a model is taken for a slow one.
        self._seconds = 2 * SLOW_SECONDS

    @property
    def ready(self) -> bool:
        """Whether the model is loaded and the server takes requests."""
        return self._model is not None and not self.draining

    @property
    def slow(self) -> bool:
        """Whether a run takes so long that it must not be done on the event loop."""
        return self._seconds > SLOW_SECONDS

    @property
    def model(self) -> Model:
        """The loaded model.

        Raises
        ------
        NotReady
            It is still loading.
        """
        if self._model is None:
            raise NotReady(
                f"the model {quoted(self.name)} is still loading; try again in a moment",
                {"Retry-After": "1"},
            )
        return self._model

    def install(self, model: Model) -> None:
        """Take a loaded model into service, after one run on a made-up sample.

        The sample's answer is not judged (a model may refuse zeros); the run shows how long one
        takes and pays for the first one's setting up.
        """
        self._inputs = {spec.name: spec for spec in model.inputs}
        self._outputs = frozenset(spec.name for spec in model.outputs)
        if self._inputs:
            inputs = {spec.name: _zeros(spec) for spec in model.inputs}
            for _ in range(2):
                start = time.perf_counter()
                try:
                    model.predict(inputs, [])
                except ServingError:
                    break
                self._seconds = time.perf_counter() - start
        self._model = model

    def predict(self, inputs: Mapping[str, Array], names: Sequence[str]) -> Prediction:
        """Run the model on checked inputs.

        Raises
        ------
        BadRequest
            An output that the model hasn't, or values that it can't take.
        NotReady
            The model is still loading.
        """
        model = self.model
        for name in names:
            if self._outputs and name not in self._outputs:
                raise BadRequest(
                    f"the model has no output {quoted(name)}; "
                    f"its outputs are {quoted([spec.name for spec in model.outputs])}"
                )
        start = time.perf_counter()
        prediction = model.predict(inputs, names)
        self._seconds += (time.perf_counter() - start - self._seconds) / 8
        return prediction

    def spec(self, name: str) -> TensorSpec | None:
        """Return what an input must be, or None when the model takes any.

        Raises
        ------
        BadRequest
            The model has no such input.
        """
        if not self._inputs:
            return None
        found = self._inputs.get(name)
        if found is None:
            raise BadRequest(
                f"the model has no input {quoted(name)}; "
                f"its inputs are {quoted(list(self._inputs))}"
            )
        return found

    def require_all(self, given: Mapping[str, Array]) -> None:
        """Refuse a request that leaves an input out."""
        missing = [name for name in self._inputs if name not in given]
        if missing:
            raise BadRequest(
                f"the input {quoted(missing[0])} is missing; "
                f"the model takes {quoted(list(self._inputs))}"
            )


def _zeros(spec: TensorSpec) -> Array:
    shape = [1 if size < 0 else size for size in (spec.shape or ())]
    if spec.datatype == "BYTES":
        return np.full(shape, "", dtype=object)
    return np.zeros(shape, dtype=DTYPES[spec.datatype])
