"""What can go wrong with models."""

from __future__ import annotations

from nablahub.core.errors import Conflict, Fault, Invalid, NotFound


class NoSuchModel(NotFound):
    """No such model, or not for you."""

    code = "no_such_model"

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"There is no model '{ref}'.", hint="`nablahub models list` shows those there are."
        )


class NoSuchModelVersion(NotFound):
    """No such version of a model."""

    code = "no_such_model_version"

    def __init__(self, ref: str) -> None:
        super().__init__(
            f"There is no model version '{ref}'.",
            hint="`nablahub models versions MODEL` shows those there are.",
        )


class ModelNameTaken(Conflict):
    """Names of models are unique in their project."""

    code = "model_name_taken"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"The project has a model called '{name}' already.",
            errors=[Fault("The name is taken.", "/name", hint="Choose another, or use that one.")],
        )


class BadModelFiles(Invalid):
    """The files can't be a model of that format."""

    code = "bad_model_files"
