"""JSON Schema in words: the type of a field, the fields of a model."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from docs._ext import markdown as md

Link = Callable[[str], str]


def anchor(name: str, page: str = "type") -> str:
    """Return the target of a model's section; ``page`` keeps those of different pages apart."""
    return f"{page}-" + "-".join(name.lower().replace("_", " ").split())


def title(name: str) -> str:
    """Return a model's name for people: ``Page_Project_`` is a page of projects."""
    outer, _, inner = name.rstrip("_").partition("_")
    return f"{outer} of {inner}" if inner and name.endswith("_") else name


def link(name: str) -> str:
    """Return a link to a model's section."""
    return f"[{title(name)}](#{anchor(name)})"


def links(page: str) -> Link:
    """Return what links to the sections of a page."""
    return lambda name: f"[{title(name)}](#{anchor(name, page)})"


def plain(name: str) -> str:
    """Return a model's name in a page that has no section for it."""
    return md.code(name)


def kind(schema: Mapping[str, Any], to: Link = link) -> str:
    """Return the type that a schema asks for, in words."""
    if "$ref" in schema:
        return to(schema["$ref"].rpartition("/")[2])
    for joined in ("anyOf", "oneOf", "allOf"):
        if joined in schema:
            return " or ".join(dict.fromkeys(kind(part, to) for part in schema[joined]))
    if "const" in schema:
        return _value(schema["const"])
    if "enum" in schema:
        return ", ".join(map(_value, schema["enum"]))
    return _plain_kind(schema, to)


def inlined(schema: dict[str, Any], prefix: str = "#/$defs/") -> dict[str, Any]:
    """Return a schema in which references to what has no fields are replaced by what it is.

    Such a definition is an alias in the code, and its name says nothing to a reader.

    Parameters
    ----------
    schema : dict
        As pydantic makes it, or an OpenAPI document.
    prefix : str
        What references begin with.
    """
    *outer, last = prefix.strip("#/").split("/")
    holder: Any = schema
    for key in outer:
        holder = holder[key]
    known: dict[str, Any] = holder.get(last, {})
    aliases = {name for name, one in known.items() if "properties" not in one}

    def walk(value: Any, inside: frozenset[str]) -> Any:
        if isinstance(value, list):
            return [walk(part, inside) for part in value]
        if not isinstance(value, dict):
            return value
        name = str(value.get("$ref", "")).removeprefix(prefix)
        if name in inside:
            return {}  # an alias of itself, such as any JSON value
        if name in aliases:
            rest = {k: v for k, v in value.items() if k != "$ref"}
            return {**walk(known[name], inside | {name}), **rest}
        return {k: walk(v, inside) for k, v in value.items()}

    found: dict[str, Any] = walk(schema, frozenset())
    holder = found
    for key in outer:
        holder = holder[key]
    if last in holder:
        holder[last] = {k: v for k, v in holder[last].items() if k not in aliases}
    return found


def _value(value: Any) -> str:
    return md.code(value if isinstance(value, str) else json.dumps(value))


def _plain_kind(schema: Mapping[str, Any], to: Link) -> str:
    name = schema.get("type", "any JSON")
    if name == "array":
        return f"list of {kind(schema.get('items', {}), to)}"
    if name == "object":
        values = schema.get("additionalProperties")
        return f"object of {kind(values, to)}" if isinstance(values, dict) and values else "object"
    formats = {"date-time": "time", "uuid": "UUID", "uri": "URL", "binary": "bytes"}
    return formats.get(schema.get("format", ""), str(name))


def limits(schema: Mapping[str, Any]) -> str:
    """Return what bounds a value, such as ``1 … 500``."""
    found = []
    for key, text in (
        ("minimum", "at least {}"), ("exclusiveMinimum", "more than {}"),
        ("maximum", "at most {}"), ("exclusiveMaximum", "less than {}"),
        ("minLength", "at least {} characters"), ("maxLength", "at most {} characters"),
    ):  # fmt: skip
        if (key, schema.get(key)) == ("minLength", 1):
            found.append("not empty")
        elif key in schema:
            found.append(text.format(schema[key]))
    for part in schema.get("anyOf", []):  # what may be left out is that or null
        found += filter(None, [limits(part).lower()])
    return ", ".join(found).capitalize()


def fields(schema: Mapping[str, Any], to: Link = link) -> str:
    """Return a table of a model's fields."""
    required = set(schema.get("required", []))
    rows = []
    for name, field in schema.get("properties", {}).items():
        parts = [field.get("description", ""), limits(field)]
        if field.get("default") not in (None, "", [], {}) and "$ref" not in field:
            parts.append(f"Default: {_value(field['default'])}")
        about = ". ".join(part.rstrip(".") for part in parts if part)
        rows.append((
            md.code(name) + (" \\*" if name in required else ""), kind(field, to), about,
        ))  # fmt: skip
    return md.table(("field", "type", "about"), rows)
