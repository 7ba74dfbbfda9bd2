"""The chart's values, from the comments and defaults of its values.yaml."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from docs._ext import markdown as md

VALUES = Path(__file__).resolve().parents[2] / "helm" / "nablahub" / "values.yaml"
_KEY = re.compile(r"^( *)([\w-]+):(?: |$)")


def comments(text: str) -> dict[str, str]:
    """Return the comment right above each key, by the key's path with dots.

    A key without one is left out, and so is everything inside text blocks and lists.
    """
    found: dict[str, str] = {}
    above: list[tuple[int, str]] = []
    block: list[str] = []
    inside = -1  # the indentation of a key whose text or list goes on
    for line in text.splitlines():
        bare = line.strip()
        indent = len(line) - len(line.lstrip())
        if bare and inside >= 0:
            if indent > inside:
                continue
            inside = -1
        if bare.startswith("# "):
            block.append(bare.removeprefix("# "))
            continue
        key = _KEY.match(line)
        if key is not None:
            while above and above[-1][0] >= indent:
                above.pop()
            above.append((indent, key[2]))
            if block:
                found[".".join(name for _, name in above)] = " ".join(block)
            if bare.endswith("|") or bare == "egress:":
                inside = indent
        block = []
    return found


def values() -> str:
    """Return a table of the chart's values."""
    text = VALUES.read_text()
    words, defaults = comments(text), YAML(typ="safe").load(text)
    rows = []
    for path, said in words.items():
        value: Any = defaults
        for name in path.split("."):
            value = value[name]
        shown = "" if isinstance(value, dict) and value else md.code(json.dumps(value))
        if isinstance(value, str) and "\n" in value:
            shown = "Python"
        rows.append((md.code(path), shown, said))
    return md.table(("value", "default", "what"), rows)
