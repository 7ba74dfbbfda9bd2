"""Both runners are held to the same contract: the same tests, with the same parameters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def collected(*folders: str) -> dict[str, list[str]]:
    """The ids of the contract tests of each folder, without the file's name."""
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-n", "0",
         *(f"tests/{folder}/test_runner.py" for folder in folders)],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    found: dict[str, list[str]] = {folder: [] for folder in folders}
    for line in told.stdout.splitlines():
        file, _, name = line.partition("::")
        if name:
            found[file.split("/")[1]].append(name)
    return found


def test_both_runners_have_the_same_contract() -> None:
    found = collected("cluster", "contract")
    assert found["cluster"] == found["contract"]
    assert len(found["cluster"]) > 40
