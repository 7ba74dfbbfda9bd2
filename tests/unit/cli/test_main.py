"""The command line as a whole."""

from __future__ import annotations

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
