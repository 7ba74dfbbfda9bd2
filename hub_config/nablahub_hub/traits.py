"""Traitlets made from the fields of a pydantic model, so that nothing is written twice."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from traitlets import Bool, Dict, Enum, Float, Integer, TraitType, Unicode

from nablahub.core.settings import Settings


def of_service(name: str) -> TraitType[Any, Any]:
    """Return the traitlet of a setting of the service: its type, default, bounds, unit and help.

    Parameters
    ----------
    name : str
        A field of ``nablahub.core.settings.Settings``; paths become strings, empty for None, and
        models dictionaries.

    Raises
    ------
    KeyError
        There is no such field.
    """
    field = Settings.model_fields[name]
    low = next((rule.ge for rule in field.metadata if hasattr(rule, "ge")), None)
    high = next((rule.le for rule in field.metadata if hasattr(rule, "le")), None)
    words = field.description or ""
    made: TraitType[Any, Any]
    if field.annotation is bool:
        made = Bool(field.default, help=words)
    elif field.annotation is int:
        made = Integer(field.default, min=low, max=high, help=words)
    elif field.annotation is float:
        made = Float(field.default, min=low, max=high, help=words)
    elif get_origin(field.annotation) is Literal:
        made = Enum(list(get_args(field.annotation)), default_value=field.default, help=words)
    elif isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
        made = Dict(help=f"{words}\n\n{_fields(field.annotation)}")
    else:
        made = Unicode(field.default or "", help=words)
    extra = field.json_schema_extra
    unit = {"unit": extra["unit"]} if isinstance(extra, dict) and "unit" in extra else {}
    return made.tag(config=True, **unit)


def _fields(model: type[BaseModel]) -> str:
    """Return a list of what a dictionary may hold."""
    lines = []
    for name, field in model.model_fields.items():
        shown = f" (default ``{field.default}``)" if field.default not in (None, "", (), {}) else ""
        lines.append(f"* ``{name}``: {field.description}{shown}")
    return "\n".join(lines)
