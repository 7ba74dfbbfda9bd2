"""Both runners are held to the same contract: the same tests, with the same parameters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def collected(folder: str) -> list[str]:
    """The ids of a folder's contract tests, without the file's name."""
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0",
         f"tests/{folder}/test_runner.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line for line in told.stdout.splitlines() if "::" in line]
    return [line.partition("::")[2] for line in lines]


def test_both_runners_have_the_same_contract() -> None:
    ours = collected("cluster")
    assert ours == collected("contract")
    assert len(ours) > 40
