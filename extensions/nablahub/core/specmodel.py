"""Specs as pydantic models: all faults at once, each with its place, in our words.

`read` checks a :class:`~nablahub.core.yamlspec.Document` against a model and returns every fault
together with whatever was sound, so that a caller can go on and report the faults of meaning in the
same answer.
"""

import copy
import difflib
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ValidationError
from pydantic_core import ErrorDetails

from nablahub.core.errors import Fault
from nablahub.core.yamlspec import MAX_DEPTH, Document, Path, SourceFloat, SourceInt


def as_text(value: Any) -> Any:
    """Return a scalar as the text it was written as (``1.10``, ``true``); leave the rest alone."""
    if isinstance(value, SourceInt | SourceFloat):
        return value.source
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value


#: Text in a spec; a number or boolean written without quotes counts as what was written.
Text = Annotated[str, BeforeValidator(as_text)]


def closest(word: str, known: Iterable[str]) -> str | None:
    """Return what `word` was meant to be: another case first, then the nearest spelling."""
    names = list(known)
    folded = {name.casefold(): name for name in names}
    if word.casefold() in folded:
        return folded[word.casefold()]
    near = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown `word`: the nearest known one, else all there are."""
    names = sorted(known)
    near = closest(word, names)
    if near is not None:
        return f"Did you mean '{near}'?"
    return f"There {'is' if len(names) == 1 else 'are'}: {', '.join(names)}." if names else ""


def read[M: BaseModel](
    source: Document, model: type[M], at: Path = ()
) -> tuple[M | None, list[Fault]]:
    """Check a document, or the part of it at the path `at`, against a pydantic model.

    Returns
    -------
    tuple
        The model of what was sound (None when nothing was) and every fault of form. What a fault
        points at is left out of the model, so the caller can go on checking the rest.
    """
    data = source.data
    for part in at:
        data = data[part]
    data = copy.deepcopy(data)
    faults: list[Fault] = []
    for attempt in range(MAX_DEPTH):
        try:
            return model.model_validate(data), faults
        except ValidationError as error:
            details = error.errors(include_url=False)
        if attempt == 0:
            faults = [_fault(source, model, detail, at) for detail in details]
        # From the end, so that taking an item out of a list moves no item still to be taken out.
        for detail in reversed(details):
            missing = detail["type"] == "missing"
            path = _path(detail)[:-1] if missing else _path(detail)
            if not path or not isinstance(data, dict):
                return None, faults
            _prune(data, path)
    return None, faults


def _path(detail: ErrorDetails) -> Path:
    return tuple(part for part in detail["loc"] if part != "[key]")


def _prune(data: Any, path: Path) -> None:
    """Take what `path` points at out of `data`."""
    for part in path[:-1]:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(data, dict):
        data.pop(str(path[-1]), None)
    elif isinstance(data, list) and isinstance(path[-1], int) and path[-1] < len(data):
        del data[path[-1]]


_EXPECTED = {
    "dict_type": "a mapping (`key: value` lines)",
    "model_type": "a mapping (`key: value` lines)",
    "model_attributes_type": "a mapping (`key: value` lines)",
    "list_type": "a list (`- item` lines)",
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}


#: Kind of a bound → its words, and where its number stands.
_BOUNDS = {
    "greater_than": ("more than", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"),
    "less_than_equal": ("at most", "le"),
}


def describe(value: Any) -> str:
    """Return in words what kind of value this is."""
    kinds: tuple[tuple[Any, str], ...] = (
        (type(None), "nothing"),
        (bool, f"`{as_text(value)}`"),
        ((int, float), f"the number {as_text(value)}"),
        (str, f"the text '{str(value)[:40]}'"),
        (list, "a list"),
        (Mapping, "a mapping"),
    )
    return next((words for kind, words in kinds if isinstance(value, kind)), "something else")


def _fault(source: Document, model: type[BaseModel], detail: ErrorDetails, at: Path) -> Fault:
    path, kind = (*at, *_path(detail)), detail["type"]
    name = str(path[-1]) if path else "the document"
    if path and isinstance(path[-1], int):
        name = f"{path[-2]}[{path[-1]}]" if len(path) > 1 else f"item {path[-1]}"
    if kind == "extra_forbidden":
        known = _keys_at(model, _path(detail)[:-1])
        hint = did_you_mean(name, known) if known else "Remove it."
        return source.fault(path, f"The key '{name}' is unknown here.", hint=hint, key=True)
    if kind == "missing":
        return source.fault(path[:-1], f"The key '{name}' is missing here.", key=True)
    if kind in _EXPECTED:
        message = f"'{name}' must be {_EXPECTED[kind]}, not {describe(detail['input'])}."
        # What is nothing has no place of its own: YAML's is where the next thing stands.
        return source.fault(path, message, key=detail["input"] is None)
    context = detail.get("ctx", {})
    if kind in _BOUNDS:
        at_what, bound = _BOUNDS[kind]
        message = f"'{name}' must be {at_what} {context[bound]:g}, not {as_text(detail['input'])}."
        return source.fault(path, message)
    if kind in ("literal_error", "enum"):
        words = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ").split(", ")
        message = f"'{name}' can't be {describe(detail['input'])}."
        return source.fault(path, message, hint=did_you_mean(str(detail["input"]), words))
    text = str(context["error"]) if "error" in context else detail["msg"]
    return source.fault(path, f"'{name}': {text[:1].lower()}{text[1:].rstrip('.')}.")


def _keys_at(model: type[BaseModel], path: Path) -> set[str]:
    """Return the keys that the model found by walking `path` from `model` has."""
    current: Any = model
    for part in path:
        current = _step(current, part)
    if isinstance(current, type) and issubclass(current, BaseModel):
        return {field.alias or name for name, field in current.model_fields.items()}
    return set()


def _step(annotation: Any, part: str | int) -> Any:
    """Return the annotation of the entry `part` of something annotated `annotation`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        for name, info in annotation.model_fields.items():
            if part in (name, info.alias):
                return _unwrap(info.annotation)
        return None
    arguments = getattr(annotation, "__args__", ())
    return _unwrap(arguments[-1]) if arguments else None


def _unwrap(annotation: Any) -> Any:
    """Return what is optional or annotated inside `annotation`."""
    arguments = [a for a in getattr(annotation, "__args__", ()) if a is not type(None)]
    is_container = getattr(annotation, "__origin__", None) in (dict, list)
    if hasattr(annotation, "__metadata__") or (len(arguments) == 1 and not is_container):
        return _unwrap(arguments[0])
    return annotation
