"""The showcase: scikit-learn's handwritten digits, a workflow that learns them, a sample to ask.

Nothing here needs scikit-learn itself: its data is read from where the package lies in an
environment that was built anyway.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

PROJECT = "showcase"
DATASET = "digits"
WORKFLOW = "digits"
NOTEBOOK = "train.ipynb"
MODEL = "digits"
DEPLOYMENT = "digits"
#: Keys of a run's outputs: the version of the dataset with the model's file, and the model's own.
RUN_DATASET = "train.model"
RUN_MODEL = "register.model"
#: The model's input and its width: 8 × 8 pixels from 0 (white) to 16 (black).
INPUT = "image"
PIXELS = 64

_DATA = "sklearn/datasets/data/digits.csv.gz"
_README = """\
# Handwritten digits

{rows} images of 8 × 8 pixels (0 to 16) with their digit: the data set that comes with scikit-learn,
the test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak, UCI, 1998).

* `images.csv`: 64 pixels a line, row by row
* `labels.csv`: the digit of the same line
"""
# The first image of the data set: a zero.
_ZERO = (
    "0 0 5 13 9 1 0 0 0 0 13 15 10 15 5 0 0 3 15 2 0 11 8 0 0 4 12 0 0 8 8 0 "
    "0 5 8 0 0 9 8 0 0 4 11 0 1 12 7 0 0 2 14 5 10 12 0 0 0 0 6 13 10 0 0 0"
)


def workflow_yaml() -> str:
    """Return the showcase's workflow."""
    return (files(__name__) / "workflow.yaml").read_text(encoding="utf-8")


def notebook_bytes() -> bytes:
    """Return the notebook that trains the model, as it is before any run."""
    return (files(__name__) / NOTEBOOK).read_bytes()


def workflow_files() -> dict[str, str]:
    """Return the files that the workflow carries."""
    return {NOTEBOOK: notebook_bytes().decode()}


def sample() -> dict[str, Any]:
    """Return a request for ``/v2/models/digits/infer`` (Open Inference Protocol); it is a zero."""
    return request([[float(pixel) for pixel in _ZERO.split()]])


def request(images: list[list[float]]) -> dict[str, Any]:
    """Return a request that asks for the digits of images, each of 64 numbers."""
    data = [pixel for image in images for pixel in image]
    shape = [len(images), PIXELS]
    return {"inputs": [{"name": INPUT, "shape": shape, "datatype": "FP32", "data": data}]}


def data_file(prefix: Path) -> Path:
    """Return scikit-learn's file of digits in an environment.

    Parameters
    ----------
    prefix : pathlib.Path
        The environment's folder.

    Raises
    ------
    FileNotFoundError
        When scikit-learn is not installed in it.
    """
    for found in sorted(prefix.glob(f"lib/python*/site-packages/{_DATA}")):
        return found
    raise FileNotFoundError(f"There is no scikit-learn in {prefix}.")


def rows(prefix: Path | None = None) -> Iterator[tuple[list[int], int]]:
    """Yield each image's pixels and its digit.

    Parameters
    ----------
    prefix : pathlib.Path or None
        Environment with scikit-learn; None: the one we run in.
    """
    with gzip.open(data_file(prefix or Path(sys.prefix)), "rt", encoding="ascii") as file:
        for line in file:
            *pixels, digit = [int(float(word)) for word in line.split(",")]
            yield pixels, digit


def write_dataset(folder: Path, prefix: Path | None = None) -> list[Path]:
    """Write the digits as CSV files and return their paths; the same bytes each time.

    Parameters
    ----------
    folder : pathlib.Path
        Made when it is not there.
    prefix : pathlib.Path or None
        Environment with scikit-learn; None: the one we run in.

    Raises
    ------
    FileNotFoundError
        When scikit-learn is not installed there.
    """
    found = list(rows(prefix))
    folder.mkdir(parents=True, exist_ok=True)
    header = ",".join(f"p{number}" for number in range(PIXELS))
    texts = {
        "README.md": _README.format(rows=len(found)),
        "images.csv": _lines([header, *(",".join(map(str, pixels)) for pixels, _ in found)]),
        "labels.csv": _lines(["digit", *(str(digit) for _, digit in found)]),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in texts]


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
