"""A Sphinx extension: ``<!-- made at build: NAME -->`` in a page becomes what the code says."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from docs._ext import chart, client, commands, config, problems, rest, specs

PARTS: Mapping[str, Callable[[], str]] = {
    "actions": specs.actions,
    "chart values": chart.values,
    "client": client.reference,
    "commands": commands.reference,
    "dataset catalog file": specs.dataset_catalog_file,
    "deployment spec": specs.deployment,
    "formats": specs.deployment_formats,
    "later": specs.deployment_later,
    "environments": config.environments,
    "instance types": config.instance_types,
    "instance types file": specs.instance_types_file,
    "magics": client.magics,
    "operations": rest.reference,
    "permissions": rest.permissions,
    "scopes": rest.scopes,
    "settings": config.traits,
    "state directory": config.state,
    "types": rest.types,
    "workflow spec": specs.workflow,
}
MARK = re.compile(r"^<!-- made at build: (?!other codes)([\w ]+) -->$", re.MULTILINE)


def fill(text: str) -> str:
    """Return a page with its marks filled in; KeyError for a mark that nothing makes."""
    text = MARK.sub(lambda found: PARTS[found[1]](), text)
    return problems.explain(text) if problems.REST in text else text


def _read(_app: Any, _name: str, source: list[str]) -> None:
    source[0] = fill(source[0])


def setup(app: Any) -> dict[str, Any]:
    """Join Sphinx."""
    app.connect("source-read", _read)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
