"""Which files a workflow may carry."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from nablahub.core.errors import Fault, Invalid, TooLarge
from nablahub.core.yamlspec import pointer

MAX_FILES_BYTES = 8 * 1024**2


def check_files(files: Mapping[str, str]) -> None:
    """Refuse files that could not be laid into a job's folder.

    Raises
    ------
    Invalid
        With a fault for each name.
    TooLarge
        All of them together are.
    """
    faults = [
        Fault(message, pointer(("files", name)), hint=hint)
        for name in files
        for message, hint in _objections(name, files)
    ]
    if faults:
        raise Invalid("The workflow can't carry these files.", errors=faults)
    if sum(len(text) for text in files.values()) > MAX_FILES_BYTES:
        raise TooLarge(
            f"The workflow's files are larger than {MAX_FILES_BYTES // 1024**2} MiB.",
            hint="Put them into a dataset and make it an input.",
        )


def _objections(name: str, files: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    parts = name.split("/")
    if any(unicodedata.category(c)[0] == "C" for c in name):
        yield f"{name!r} is no name for a file: it holds a control character.", "Take it out."
    elif not name or not set(parts).isdisjoint(("", ".", "..")):
        yield f"'{name}' is no name for a file of a workflow.", (
            "It must be a relative path without '..', such as `src/train.py`."
        )  # fmt: skip
    elif parts[0] == ".nablahub":
        yield f"A file can't be called '{name}': the folder .nablahub is ours.", "Choose another."
    for parent in PurePosixPath(name).parents:
        if str(parent) in files:
            yield f"'{name}' can't be there: '{parent}' is a file, not a folder.", (
                "Rename one of the two."
            )  # fmt: skip
