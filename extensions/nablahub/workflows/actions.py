"""The actions a job can use: what each takes in ``with``, and what it may leave behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from nablahub.core.specmodel import Text
from nablahub.workflows.spec import Map, Part, Words


def _not_blank(value: str) -> str:
    if not value.strip():
        raise ValueError("it is empty")
    return value


Filled = Annotated[Text, AfterValidator(_not_blank)]


class ScriptArguments(Part):
    """``script@v1``: a program run by bash."""

    script: Filled
    image: Text | None = Field(default=None, description="Environment to run in")


class ContainerArguments(Part):
    """``container@v1``: a command in an environment."""

    image: Filled
    command: Words = Field(default=[])
    args: Words = Field(default=[])


def _notebook_file(value: str) -> str:
    if not value.endswith(".ipynb"):
        raise ValueError("it must end with .ipynb")
    if ".." in value.split("/"):
        raise ValueError("it must not contain '..'")
    return value


def _json(value: Any) -> Any:
    json.dumps(value, allow_nan=False)  # ValueError: papermill passes parameters on as JSON.
    return value


class NotebookArguments(Part):
    """``notebook@v1``: a notebook run from top to end with parameters.

    ``notebook`` is an absolute path inside the job (``/inputs/repo/train.ipynb``,
    ``/storage/train.ipynb``) or the name of a file that the workflow carries. ``path`` is where a
    copy of the executed notebook goes besides the run's own record.
    """

    notebook: Annotated[Filled, AfterValidator(_notebook_file)]
    path: Annotated[Text, AfterValidator(_notebook_file)] | None = None
    parameters: Annotated[Map[str, Any], AfterValidator(_json)] = Field(default={})
    image: Text | None = None


class ModelArguments(Part):
    """``create-model@v1``: a model version of what an input dataset holds."""

    name: Filled
    type: Annotated[
        Literal["ONNX", "sklearn", "Tensorflow", "Custom"],
        BeforeValidator(lambda v: _MODEL_TYPES.get(str(v).casefold(), v)),
    ] = "Custom"


_MODEL_TYPES = {
    "onnx": "ONNX",
    "sklearn": "sklearn",
    "scikit-learn": "sklearn",
    "tensorflow": "Tensorflow",
    "custom": "Custom",
}


@dataclass(frozen=True)
class Action:
    """One action.

    Parameters
    ----------
    name
        Such as ``script@v1``.
    arguments
        Model of its ``with``.
    runs
        Whether it runs as a job; else the service does it by itself.
    needs_kernel
        Whether its environment must hold a Jupyter kernel.
    usage
        One line that shows it.
    """

    name: str
    arguments: type[Part]
    usage: str
    runs: bool = True
    needs_kernel: bool = False


ACTIONS: Mapping[str, Action] = {
    action.name: action
    for action in (
        Action("script@v1", ScriptArguments, "with: {script: 'echo hello', image: 'python:3.12'}"),
        Action(
            "container@v1",
            ContainerArguments,
            "with: {image: 'python:3.12', command: [python, -V]}",
        ),
        Action(
            "notebook@v1",
            NotebookArguments,
            "with: {notebook: /inputs/repo/train.ipynb, parameters: {epochs: 3}}",
            needs_kernel=True,
        ),
        Action("create-model@v1", ModelArguments, "with: {name: digits, type: ONNX}", runs=False),
    )
}

#: Gradient's actions that are read and kept, and can't run here yet.
NOT_YET: Mapping[str, str] = {
    "git-checkout@v1": "Put the files into a dataset (`nablahub datasets put`) and name it under "
    "the job's inputs.",
    "s3-download@v1": "Put the files into a dataset (`nablahub datasets put`) and name it under "
    "the job's inputs.",
}
