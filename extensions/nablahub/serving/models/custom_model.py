"""A user's own class: ``model.py`` with a class ``Model`` that has ``predict(inputs)``.

``predict`` gets a dictionary of numpy arrays by input name and returns an array or a dictionary
of arrays. ``Model()`` takes no argument; a method ``load(folder)`` is called once when there is
one. It runs only here, in the sandbox of the user's own model.
"""

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nablahub.serving.errors import BadRequest, ModelError, ModelFailed
from nablahub.serving.models.base import Prediction
from nablahub.serving.tensors import Array, TensorSpec

PLATFORM = "python"


class CustomModel:
    """The user's class, loaded from its folder.

    Raises
    ------
    ModelError
        There is no ``model.py`` with a class ``Model``, or it fails when it loads.
    """

    platform = PLATFORM
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def __init__(self, file: Path) -> None:
        folder = file.parent
        spec = importlib.util.spec_from_file_location("model", file)
        if spec is None or spec.loader is None or not file.is_file():
            raise ModelError(f"there is no {file.name} in {folder}")
        module = importlib.util.module_from_spec(spec)
        sys.path.insert(0, str(folder))
        try:
            spec.loader.exec_module(module)
            self._model = module.Model()
            if hasattr(self._model, "load"):
                self._model.load(folder)
        except Exception as error:
            raise ModelError(f"{file.name} failed to load: {_told(error)}") from error
        if not callable(getattr(self._model, "predict", None)):
            raise ModelError(f"the class Model in {file.name} has no method predict(inputs)")

    def predict(self, inputs: Mapping[str, Array], names: Sequence[str]) -> Prediction:
        """Call the user's ``predict``; a ValueError of theirs is the client's fault."""
        try:
            answer: Any = self._model.predict(dict(inputs))
        except ValueError as error:
            raise BadRequest(f"the model does not take this input: {error}") from error
        except Exception as error:
            raise ModelFailed(f"the model's predict failed: {_told(error)}") from error
        named = answer if isinstance(answer, Mapping) else {"output": answer}
        unknown = [name for name in names if name not in named]
        if unknown:
            raise BadRequest(f"the model has no output {unknown[0]!r}, it gave {list(named)}")
        return Prediction({name: np.asarray(named[name]) for name in (names or named)})


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
