"""Finds and loads the model that a deployment serves."""

from pathlib import Path

from nablahub.serving.errors import ModelError
from nablahub.serving.models.base import Model

FORMATS = ("onnx", "sklearn", "custom")
_PATTERNS = {
    "onnx": ("*.onnx",),
    "sklearn": ("*.joblib", "*.pkl", "*.pickle"),
    "custom": ("model.py",),
}


def model_file(path: Path, kind: str) -> Path:
    """Return the one file of a format under a path.

    Raises
    ------
    ModelError
        There is none, or more than one.
    """
    if path.is_file():
        return path
    patterns = _PATTERNS[kind]
    found = sorted(file for pattern in patterns for file in path.rglob(pattern) if file.is_file())
    wanted = " or ".join(patterns)
    if not found:
        raise ModelError(f"the model's files hold no {wanted}; its format is given as {kind!r}")
    if len(found) > 1:
        names = ", ".join(str(file.relative_to(path)) for file in found[:5])
        raise ModelError(f"the model's files hold {len(found)} files {wanted} ({names}); keep one")
    return found[0]


def load(path: Path, kind: str, threads: int = 1) -> Model:
    """Load a model.

    Parameters
    ----------
    path
        The file, or the folder of a model version.
    kind
        One of ``FORMATS``; ``sklearn`` and ``custom`` run code out of the files.
    threads
        Threads of one prediction.

    Raises
    ------
    ModelError
        The files hold no such model.
    """
    if kind not in FORMATS:
        raise ModelError(f"unknown format {kind!r}; this server has {', '.join(FORMATS)}")
    file = model_file(path, kind)
    # Each format needs a library of its own, and only the one that is served is imported.
    if kind == "onnx":
        from nablahub.serving.models.onnx_model import OnnxModel

        return OnnxModel(file, threads)
    if kind == "sklearn":
        from nablahub.serving.models.sklearn_model import SklearnModel

        return SklearnModel(file)
    from nablahub.serving.models.custom_model import CustomModel

    return CustomModel(file)
