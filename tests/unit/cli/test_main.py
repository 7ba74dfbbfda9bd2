"""The command line as a whole."""

from __future__ import annotations

import subprocess
import sys

import pytest
from click.testing import CliRunner

from nablahub.cli import main


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_that_calls_us(shell: str) -> None:
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0, result.output
    assert "_NABLAHUB_COMPLETE" in result.output


def test_completion_knows_nouns_and_verbs() -> None:
    env = {"_NABLAHUB_COMPLETE": "bash_complete", "COMP_WORDS": "nablahub proj", "COMP_CWORD": "1"}
    result = CliRunner().invoke(main, [], env=env, prog_name="nablahub")
    assert "plain,projects" in result.output


def test_help_lists_every_noun() -> None:
    result = CliRunner().invoke(main, ["--help"])
    for noun in ("projects", "datasets", "models", "jobs", "workflows", "deployments", "up"):
        assert f"  {noun} " in result.output


def test_a_command_loads_nothing_of_those_that_other_extensions_add() -> None:
    """Neither their modules nor pydantic, which takes longer than all that `put` needs."""
    code = """
import sys
from nablahub.cli import main
try:
    main(["datasets", "put", "--help"])
finally:
    slow = {"pydantic", "rich", "sqlalchemy", "nablahub.mounts.cli"}
    print("loaded:", sorted(slow & set(sys.modules)))
"""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "Commit a folder" in done.stdout
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_a_group_has_the_commands_that_other_extensions_add() -> None:
    listed = CliRunner().invoke(main, ["datasets", "--help"])
    assert "  put " in listed.output
    assert "  unmount " in listed.output
    result = CliRunner().invoke(main, ["datasets", "mount", "--help"])
    assert "Show a version or a bucket in /datasets" in result.output
