"""Workflow files that people wrote for Gradient are read as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nablahub.core.yamlspec import MalformedSpec, load
from nablahub.workflows.checks import check
from nablahub.workflows.spec import parse, restore

FOLDER = Path(os.environ.get("NABLAHUB_SHARED", "/nonexistent")) / "real-workflows"
FILES = sorted(FOLDER.glob("*.y*ml"))
#: Files that are wrong, and what they are told: (line, column, what it says).
WRONG = {
    "d8oss": [(10, 4, "expected <block end>")],
    "Lisibonny": [
        (5, 3, "'uses' stands beside the jobs"),
        (6, 3, "'with' stands beside the jobs"),
        (9, 3, "'outputs' stands beside the jobs"),
        (2, 3, "does not say which action"),
    ],
    "dhanushDM99": [
        (1, 1, "The key 'version' is unknown"),
        (3, 1, "The key 'workflows' is unknown"),
        (1, 1, "A workflow needs `jobs`"),
    ],
}

pytestmark = pytest.mark.skipif(
    not FILES, reason="real workflow files are not here (NABLAHUB_SHARED names their folder)"
)


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.name.split("+")[0])
def test_a_real_file_is_read(path: Path) -> None:
    expected = next((v for k, v in WRONG.items() if path.name.startswith(k)), [])
    try:
        source = load(path.read_text())
        spec, found = parse(source)
        assert spec is not None
        assert restore(spec.dump()) == spec
        found = [*found, *check(source, spec)]
    except MalformedSpec as error:
        found = list(error.errors)
    assert len(found) == len(expected), [str(f) for f in found]
    for fault, (line, column, text) in zip(found, expected, strict=True):
        assert (fault.line, fault.column) == (line, column)
        assert text in fault.message
        assert fault.hint
