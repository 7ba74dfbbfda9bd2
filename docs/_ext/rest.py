"""The REST reference and the permissions table, from the operations that are declared."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from docs._ext import markdown as md
from docs._ext import schema as words
from nablahub.core.extension import discover
from nablahub.core.operations import Operation
from nablahub.core.permissions import NEEDS
from nablahub.service.app import operations_of
from nablahub.service.openapi import build, full_path
from nablahub_hub.scopes import (
    CULLER_SCOPES,
    CUSTOM_SCOPES,
    SERVER_SCOPES,
    SERVICE_SCOPES,
    USER_SCOPES,
)

METHODS = ("get", "head", "post", "put", "patch", "delete")


@cache
def document() -> dict[str, Any]:
    """Return the OpenAPI document of everything that is installed."""
    return words.inlined(build(operations_of(discover()), ""), "#/components/schemas/")


def by_slice() -> dict[str, list[Operation]]:
    """Return the operations of each concept, in the order in which concepts build on each other."""
    found: dict[str, list[Operation]] = {}
    for op in operations_of(discover()):
        found.setdefault(op.handler.__module__.split(".")[-2], []).append(op)
    return found


def reference() -> str:
    """Return the sections of all operations."""
    parts = []
    for concept, operations in by_slice().items():
        parts.append(f"## {concept.capitalize()}")
        parts += [_operation(op) for op in operations]
    return md.sections(*parts)


def types() -> str:
    """Return a section for each type of the document."""
    parts = []
    for name, schema in sorted(document()["components"]["schemas"].items()):
        parts += [
            f"({words.anchor(name)})=",
            f"### {words.title(name)}",
            md.prose(schema.get("description")),
            words.fields(schema) or f"{words.kind(schema)}.",
        ]
    return md.sections(*parts)


def _operation(op: Operation) -> str:
    path = full_path(op)
    declared: Mapping[str, Any] = document()["paths"][path][op.method.lower()]
    queries = [p for p in declared["parameters"] if p["in"] == "query"]
    schema = {
        "properties": {
            p["name"]: {**p["schema"], "description": p["description"]} for p in queries
        },
        "required": [p["name"] for p in queries if p["required"]],
    }
    takes = _content(declared.get("requestBody"))
    gives = _content(declared["responses"][str(op.status)])
    needs = "no token" if op.scope is None else f"scope {md.code(NEEDS[op.scope.split(':')[1]])}"
    facts = [f"Answers {op.status}" + (f": {gives}." if gives else "."), f"Needs {needs}."]
    if takes:
        facts.insert(0, f"Takes {takes}.")
    if op.method == "PATCH":
        facts.append("Send the ETag that you read as `If-Match`.")
    return md.sections(
        f"### {op.method} {path}",
        md.prose(declared["summary"]),
        md.prose(declared.get("description")),
        " ".join(facts),
        words.fields(schema),
    )


def _content(holder: Mapping[str, Any] | None) -> str:
    found = []
    for media, content in ((holder or {}).get("content") or {}).items():
        found.append(words.kind(content["schema"]) if "schema" in content else md.code(media))
    return " or ".join(found)


def permissions() -> str:
    """Return a table of operations and the scopes they need, for each concept."""
    parts = []
    for concept, operations in by_slice().items():
        rows = [
            (
                md.code(f"{op.method} {full_path(op)}"),
                md.code(op.scope) if op.scope else "none: anybody, signed in or not",
                md.code(NEEDS[op.scope.rpartition(":")[2]]) if op.scope else "–",
            )
            for op in operations
        ]
        parts += [
            f"### {concept.capitalize()}",
            md.table(("operation", "right", "scope of the token"), rows),
        ]
    return md.sections(*parts)


def scopes() -> str:
    """Return the scopes that a NablaHub adds, and who holds which."""
    own = md.table(
        ("scope", "allows", "includes"),
        [
            (
                md.code(name), declared["description"],
                ", ".join(md.code(s) for s in declared.get("subscopes", [])) or "–",
            )
            for name, declared in CUSTOM_SCOPES.items()
        ],
    )  # fmt: skip
    holders = md.table(
        ("who", "scopes"),
        [
            (who, ", ".join(md.code(s) for s in held))
            for who, held in (
                ("each user, beside JupyterHub's own", USER_SCOPES),
                ("each single-user server's token", SERVER_SCOPES),
                ("the NablaHub service", SERVICE_SCOPES),
                ("the idle culler", CULLER_SCOPES),
            )
        ],
    )
    return md.sections(own, holders)
