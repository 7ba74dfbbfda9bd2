"""The tutorial's commands are run as they stand, and what it shows of them is what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.hub import RunningHub, environment

ROOT = Path(__file__).resolve().parents[2]
TUTORIAL = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "=== end of step"


@dataclass(frozen=True)
class Step:
    """Commands of one block, and the lines that the block after it shows.

    Parameters
    ----------
    commands : str
        Shell.
    shown : tuple of str
        Each is the beginning of a line of the output, in this order.
    """

    commands: str
    shown: tuple[str, ...]


def steps() -> list[Step]:
    """Return what the tutorial has its reader type (``sh``) with what it shows (``text``)."""
    found: list[Step] = []
    for language, content in BLOCK.findall(TUTORIAL.read_text()):
        if language == "sh":
            found.append(Step(content, ()))
        elif language == "text":
            found[-1] = Step(found[-1].commands, tuple(content.splitlines()))
    return found


def pattern(line: str) -> re.Pattern[str]:
    """Return what finds a shown line: ``…`` is anything, spaces are as many as there are."""
    parts = (r"\s+".join(map(re.escape, part.split())) for part in line.split("…"))
    return re.compile("^ *" + r".*".join(parts), re.MULTILINE)


def test_the_tutorial_has_steps_that_show_something() -> None:
    assert len(steps()) > 10
    assert sum(bool(step.shown) for step in steps()) > 8


@pytest.mark.hub
@pytest.mark.timeout(900)
def test_the_commands_do_what_the_tutorial_says(hub: RunningHub, tmp_path: Path) -> None:
    todo = steps()
    script = "set -e -o pipefail\n" + "".join(
        f"{step.commands}\nprintf '\\n{MARK} {number}\\n'\n" for number, step in enumerate(todo)
    )
    env = environment(
        HOME=str(tmp_path),
        NABLAHUB_STATE_DIR=str(hub.state.root),
        NABLAHUB_URL=hub.service_url,
        NABLAHUB_TOKEN=hub.token("dora"),
        PATH=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    )
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    outputs = re.split(rf"^{MARK} \d+\n", done.stdout, flags=re.MULTILINE)
    for step, output in zip(todo, outputs, strict=False):
        rest = output
        for line in step.shown:
            found = pattern(line).search(rest)
            assert found, f"{line!r} is not in what\n{step.commands}\nprinted:\n{output}"
            rest = rest[found.end() :]
