"""The reference of the YAML specs, from the pydantic models that read them."""

from __future__ import annotations

from typing import Any

from docs._ext import markdown as md
from docs._ext import schema as words
from nablahub.core.instances.form import TypesFile
from nablahub.datasets.catalog.form import CatalogFile
from nablahub.deployments.specs import BY_FORMAT, LATER
from nablahub.deployments.types import DeploymentSpec
from nablahub.workflows.actions import ACTIONS, NOT_YET, Action
from nablahub.workflows.spec import Spec


def workflow() -> str:
    """Return a section for each mapping of a workflow's spec."""
    schema = Spec.model_json_schema(by_alias=True)
    return models("Workflow", schema, "workflow-spec")


def deployment() -> str:
    """Return a table of a deployment's spec."""
    schema = words.inlined(DeploymentSpec.model_json_schema())
    return words.fields(schema, words.plain)


def deployment_formats() -> str:
    """Return a table of model formats and the engines that serve them."""
    rows = [(md.code(format_), md.code(engine)) for format_, engine in BY_FORMAT.items()]
    return md.table(("format of the model", "engine"), rows)


def deployment_later() -> str:
    """Return a table of Gradient's keys that are not served yet."""
    return md.table(("key", "instead"), [(md.code(key), text) for key, text in LATER.items()])


def instance_types_file() -> str:
    """Return a section for each mapping of an instance types file."""
    schema = TypesFile.model_json_schema()
    return models("The file", schema, "instance-types")


def dataset_catalog_file() -> str:
    """Return a section for each mapping of a catalog file."""
    return models("The file", CatalogFile.model_json_schema(), "dataset-catalog")


def actions() -> str:
    """Return a section for each action."""
    parts = []
    for action in ACTIONS.values():
        parts += [
            f"### {action.name}",
            md.prose(action.arguments.__doc__),
            md.block(f"uses: {action.name}\n{action.usage}", "yaml"),
            words.fields(_arguments(action), words.plain),
        ]
    if NOT_YET:
        parts.append("### Actions that are read and can't run here yet")
        parts.append(md.table(("action", "instead"), [(md.code(k), v) for k, v in NOT_YET.items()]))
    return md.sections(*parts)


def _arguments(action: Action) -> dict[str, Any]:
    return words.inlined(action.arguments.model_json_schema(by_alias=True))


def models(title: str, schema: dict[str, Any], page: str) -> str:
    """Return a section for a schema and one for each of its definitions.

    Parameters
    ----------
    title : str
        Heading of the outermost one.
    schema : dict
        As ``model_json_schema`` gives it.
    page : str
        What the targets of its sections begin with.
    """
    parts, to = [], words.links(page)
    schema = words.inlined(schema)
    for name, one in {title: schema, **schema.get("$defs", {})}.items():
        parts += [
            f"({words.anchor(name, page)})=",
            f"### {name}",
            md.prose(one.get("description")),
            words.fields(one, to) or f"{words.kind(one, to)}.",
        ]
    return md.sections(*parts)
