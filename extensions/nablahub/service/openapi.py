"""The OpenAPI 3.1 document, derived from what the handlers declare."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from nablahub.core.operations import PARAMETER, Operation

REF = "#/components/schemas/{model}"
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457)",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What happened and why"},
        "code": {"type": "string", "description": "Short and stable, for programs"},
        "hint": {"type": "string", "description": "What to do about it"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["message"],
                "properties": {
                    "message": {"type": "string"},
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901)"},
                    "line": {"type": "integer", "minimum": 1},
                    "column": {"type": "integer", "minimum": 1},
                    "hint": {"type": "string"},
                },
            },
        },
    },
}


def release() -> str:
    """Return the installed release of NablaHub."""
    try:
        return version("nablahub")
    except PackageNotFoundError:
        return "unknown"


def build(operations: Sequence[Operation], prefix: str) -> dict[str, Any]:
    """Return the OpenAPI document.

    Parameters
    ----------
    operations : sequence of Operation
        What is served.
    prefix : str
        The service's path, such as ``/services/nablahub``; paths begin with it.
    """
    schemas, refs = _schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for op in operations:
        path = prefix + full_path(op)
        paths.setdefault(path, {})[op.method.lower()] = _operation(op, refs)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "NablaHub",
            "version": release(),
            "description": "Projects, data, workflows, models and deployments on a JupyterHub.",
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**schemas, "Problem": PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def full_path(op: Operation) -> str:
    """Return the operation's path below the service's prefix, as OpenAPI writes it."""
    plain = PARAMETER.sub(lambda found: "{" + found[1] + "}", op.path)
    return plain if op.root else "/api/v1" + plain


def _schemas(
    operations: Sequence[Operation],
) -> tuple[dict[str, Any], dict[tuple[Any, JsonSchemaMode], dict[str, Any]]]:
    wanted: list[tuple[Any, JsonSchemaMode]] = []
    for op in operations:
        if op.body is not None:
            wanted.append((op.body, "validation"))
        if op.response is not None:
            wanted.append((op.response, "serialization"))
    unique = list(dict.fromkeys(wanted))
    inputs = [(key, key[1], TypeAdapter(key[0]).core_schema) for key in unique]
    generator = GenerateJsonSchema(ref_template=REF)
    refs, definitions = generator.generate_definitions(inputs)
    by_type = {key: refs[key, key[1]] for key in unique}
    return {str(name): schema for name, schema in definitions.items()}, by_type


def _operation(op: Operation, refs: dict[tuple[Any, JsonSchemaMode], Any]) -> dict[str, Any]:
    text = inspect.getdoc(op.handler) or op.name
    summary, _, rest = text.partition("\n")
    found: dict[str, Any] = {
        "operationId": op.name,
        "summary": summary,
        "tags": [op.handler.__module__.split(".")[-2]],
        "parameters": _parameters(op),
        "responses": {
            str(op.status): _response(op, refs),
            "default": {
                "description": "A problem",
                "content": {
                    "application/problem+json": {"schema": {"$ref": REF.format(model="Problem")}}
                },
            },
        },
    }
    if rest.strip():
        found["description"] = rest.strip()
    if op.scope is None:
        found["security"] = []
    else:
        found["x-scope"] = op.scope
    if op.body is not None:
        found["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": refs[op.body, "validation"]}},
        }
    elif op.consumes is not None:
        found["requestBody"] = {"required": True, "content": {op.consumes: {}}}
    return found


def _response(op: Operation, refs: dict[tuple[Any, JsonSchemaMode], Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"description": "Done" if op.writes else "What was asked for"}
    if op.response is not None:
        schema = refs[op.response, "serialization"]
        found["content"] = {"application/json": {"schema": schema}}
    elif op.produces is not None:
        found["content"] = {op.produces: {}}
    return found


def _parameters(op: Operation) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in op.parameters
    ]
    if op.query is not None:
        schema = op.query.model_json_schema()
        for name, field in schema["properties"].items():
            found.append({
                "name": name, "in": "query", "required": name in schema.get("required", []),
                "description": field.pop("description", ""), "schema": field,
            })  # fmt: skip
    if op.method == "PATCH":
        found.append(_header("If-Match", "ETag of the revision that was read", required=True))
    if op.method == "POST" and op.writes:
        found.append(_header("Idempotency-Key", "Sent twice, done once", required=False))
    return found


def _header(name: str, description: str, *, required: bool) -> dict[str, Any]:
    return {
        "name": name, "in": "header", "required": required, "description": description,
        "schema": {"type": "string"},
    }  # fmt: skip
