"""What `nablahub doctor` says of the instance types."""

from __future__ import annotations

import json
from pathlib import Path

from nablahub.core.state import StateDir
from nablahub_hub.local.doctor import Check, examine


def looked(state: StateDir) -> Check:
    (found,) = [check for check in examine(state, None) if check.name == "Instance types"]
    return found


def test_a_broken_file_is_told_with_its_line_and_the_way_out(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    assert looked(state).detail == f"45, as shipped; {state.instance_types} would change them"
    state.instance_types.write_text("offered: [C4]")
    assert looked(state).detail == f"1, in {state.instance_types}"
    state.instance_types.write_text("types:\n  C4: {cpus: -1}")
    found = looked(state)
    assert not found.ok
    assert "line 2, column 14: 'cpus' must be at least 1, not -1." in found.detail
    assert f"nablahub instances check {state.instance_types}" in found.hint


def test_the_file_that_the_service_was_told_is_looked_at(tmp_path: Path) -> None:
    state = StateDir(tmp_path).make()
    other = tmp_path / "other.yaml"
    other.write_text("offered: [C3, C4]")
    told = {"state_dir": str(tmp_path), "public_url": "", "hub_api_url": ""}
    state.settings.write_text(json.dumps({**told, "instance_types_file": str(other)}))
    assert looked(state).detail == f"2, in {other}"
