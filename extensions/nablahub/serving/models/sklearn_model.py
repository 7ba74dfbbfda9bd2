"""scikit-learn models saved by joblib or pickle.

Loading one runs code out of the file. That is allowed only here, in the sandbox of the user's own
model, and only when the format was chosen by name.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import joblib
import numpy as np

from nablahub.serving.errors import BadRequest, ModelError
from nablahub.serving.models.base import Prediction
from nablahub.serving.tensors import Array, TensorSpec, datatype_of

PLATFORM = "sklearn_joblib"


class SklearnModel:
    """An estimator with ``predict`` and, where it has it, ``predict_proba``.

    Raises
    ------
    ModelError
        The file can't be loaded, or holds no estimator.
    """

    platform = PLATFORM

    def __init__(self, path: Path) -> None:
        try:
            self._estimator = joblib.load(path)
        except Exception as error:
            raise ModelError(f"{path.name} can't be loaded by joblib: {error}") from error
        if not hasattr(self._estimator, "predict"):
            raise ModelError(f"{path.name} holds a {type(self._estimator).__name__}, no estimator")
        features = getattr(self._estimator, "n_features_in_", -1)
        self.inputs = (TensorSpec("input", "FP64", (-1, features)),)
        self._classes = getattr(self._estimator, "classes_", None)
        self.outputs = self._declare()

    def _declare(self) -> tuple[TensorSpec, ...]:
        classes = self._classes if isinstance(self._classes, np.ndarray) else None
        labelled = "FP64" if classes is None else datatype_of(classes)
        label = TensorSpec("predict", labelled, (-1,))
        if not hasattr(self._estimator, "predict_proba"):
            return (label,)
        columns = -1 if classes is None else len(classes)
        return (label, TensorSpec("predict_proba", "FP64", (-1, columns)))

    def predict(self, inputs: Mapping[str, Array], names: Sequence[str]) -> Prediction:
        """Call each wanted method of the estimator."""
        wanted = list(names) or [spec.name for spec in self.outputs]
        rows = inputs["input"]
        arrays: dict[str, Array] = {}
        labels: dict[str, list[str]] = {}
        for name in wanted:
            method: Any = getattr(self._estimator, name)
            try:
                arrays[name] = np.asarray(method(rows))
            except ValueError as error:
                raise BadRequest(f"the model does not take this input: {error}") from error
            if name == "predict_proba" and isinstance(self._classes, np.ndarray):
                labels[name] = [str(value) for value in self._classes.tolist()]
        return Prediction(arrays, labels)
