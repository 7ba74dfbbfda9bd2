"""Notebooks run as jobs run them: the runner's Python outside, the job's kernel inside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import nablahub
from tests.support.environments import environment

SOURCES = Path(nablahub.__file__).parent.parent


@dataclass
class Ran:
    """What a run of the engine left."""

    code: int
    out: str
    err: str
    events: list[dict[str, Any]]
    message: str
    record: dict[str, Any] | None

    def statuses(self) -> list[str]:
        """Return papermill's word for each code cell."""
        assert self.record is not None
        cells = [c for c in self.record["cells"] if c["cell_type"] == "code"]
        return [c["metadata"]["papermill"]["status"] for c in cells]


def notebook(*sources: str, **metadata: Any) -> dict[str, Any]:
    cells: list[dict[str, Any]] = [
        {"cell_type": "code", "id": f"c{n}", "metadata": {}, "outputs": [],
         "execution_count": None, "source": source}
        for n, source in enumerate(sources)
    ]  # fmt: skip
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


class Engine:
    """Runs notebooks in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record = folder / "artifacts" / "n.ipynb"

    def command(self, *more: str) -> list[str]:
        return [
            str(environment("runner").python), "-m", "nablahub.notebook_engine",
            "--input", str(self.folder / "n.ipynb"), "--output", str(self.record),
            "--events", str(self.folder / "artifacts" / "cells.jsonl"),
            "--python", str(environment("default").python), *more,
        ]  # fmt: skip

    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(SOURCES),
            "NABLAHUB_MESSAGE_FILE": str(self.folder / "message"),
            "MARK": "seen",
        }

    def write(self, document: Any) -> None:
        text = document if isinstance(document, str) else json.dumps(document)
        (self.folder / "n.ipynb").write_text(text)

    def run(self, document: Any, *more: str) -> Ran:
        self.write(document)
        done = subprocess.run(
            self.command(*more), env=self.environ(), capture_output=True, text=True, timeout=120,
            cwd="/", check=False,
        )  # fmt: skip
        return self.left(done.returncode, done.stdout, done.stderr)

    def left(self, code: int, out: str, err: str) -> Ran:
        events = self.folder / "artifacts" / "cells.jsonl"
        lines = events.read_text().splitlines() if events.exists() else []
        message = self.folder / "message"
        return Ran(
            code, out, err,
            [json.loads(line) for line in lines],
            message.read_text() if message.exists() else "",
            json.loads(self.record.read_text()) if self.record.exists() else None,
        )  # fmt: skip


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def outputs(ran: Ran) -> str:
    assert ran.record is not None
    return "".join(
        "".join(output.get("text", ""))
        for cell in ran.record["cells"]
        for output in cell.get("outputs", [])
    )


def test_a_notebook_runs_with_its_parameters_and_is_recorded(engine: Engine) -> None:
    document = notebook("n = 1\nname = 'x'", "print(n, name)", "import os, sys\nprint(sys.prefix)")
    document["cells"][0]["metadata"]["tags"] = ["parameters"]
    copy = engine.folder / "outputs" / "copy.ipynb"
    ran = engine.run(document, "--parameters", '{"n": 7, "name": "seven"}', "--copy", str(copy))
    assert (ran.code, ran.message) == (0, "")
    assert "7 seven" in outputs(ran)
    assert "7 seven\n" in ran.out
    assert str(environment("default").prefix) in outputs(ran)
    assert ran.statuses() == ["completed"] * 4
    assert [(e["event"], e["cell"], e["of"]) for e in ran.events] == [
        (event, cell, 4) for cell in (1, 2, 3, 4) for event in ("start", "end")
    ]
    assert json.loads(copy.read_text()) == ran.record
    assert "[notebook] cell 3/4  print(n, name)" in ran.out


@pytest.mark.parametrize("last", ["n", "1 / 0"])
def test_the_record_names_the_kernel_that_ran_it(engine: Engine, last: str) -> None:
    """JupyterLab would write these in, and show a notebook that was only opened as unsaved."""
    asked = {"kernelspec": {"name": "conda-old", "display_name": "Old"}} if last == "n" else {}
    record = engine.run(notebook("n = 1", last, **asked)).record
    assert record is not None
    kernel = environment("default").prefix / "share/jupyter/kernels/python3/kernel.json"
    spec = json.loads(kernel.read_text())
    wanted = {"name": "python3", **{key: spec[key] for key in ("display_name", "language")}}
    assert record["metadata"]["kernelspec"] == wanted
    info = record["metadata"]["language_info"]
    assert (info["name"], info["pygments_lexer"]) == ("python", "ipython3")
    assert info["version"]


def test_the_kernel_works_where_the_notebook_lies_and_sees_the_jobs_variables(
    engine: Engine,
) -> None:
    (engine.folder / "words.txt").write_text("beside it")
    ran = engine.run(notebook("import os\nprint(open('words.txt').read(), os.environ['MARK'])"))
    assert outputs(ran) == "beside it seen\n"


def test_a_failing_cell_is_named_and_the_rest_is_not_run(engine: Engine) -> None:
    ran = engine.run(notebook("a = 1", "raise ValueError('too small')", "print('never')"))
    assert ran.code == 1
    assert ran.message == "Cell 2 of 3 failed: ValueError: too small"
    assert "too small" in ran.err
    assert ran.events[-1] == ran.events[-1] | {
        "event": "failed", "cell": 2, "of": 3, "error": "ValueError"
    }  # fmt: skip
    assert ran.statuses() == ["completed", "failed", "pending"]
    assert "never" not in outputs(ran)


@pytest.mark.parametrize(
    ("source", "code", "words"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", 137, "because memory ran out"),
        ("import os\nos._exit(3)", 1, "it exited with code 3"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", 139, "ended by SIGSEGV"),
    ],
)  # fmt: skip
def test_a_dead_kernel_is_told_at_once_with_its_cell(
    engine: Engine, source: str, code: int, words: str
) -> None:
    ran = engine.run(notebook("print('before')", source, "print('never')"))
    assert ran.code == code
    assert ran.message.startswith("The kernel died in cell 2 of 3: ")
    assert words in ran.message
    assert "before" in outputs(ran)
    assert ran.statuses() == ["completed", "failed", "pending"]


def test_the_record_is_whole_at_any_moment(engine: Engine) -> None:
    engine.write(
        notebook("x = 40 + 2\nprint(x)", "import time\nprint('now', flush=True)\ntime.sleep(600)")
    )
    process = subprocess.Popen(
        engine.command(), env=engine.environ(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True, start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line == "now\n":
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.stdout.close()
    process.wait()
    ran = engine.left(process.returncode, "", "")
    assert ran.statuses() == ["completed", "running"]
    assert outputs(ran).startswith("42\n")
    assert ran.events[-1]["event"] == "start"


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ("{", "can't be read as a notebook"),
        ({"cells": []}, "can't be read as a notebook"),
        (notebook(kernelspec={"name": "ir", "language": "R"}), "written in R; here runs Python"),
    ],
)
def test_what_is_no_python_notebook_is_refused_in_words(
    engine: Engine, document: Any, words: str
) -> None:
    ran = engine.run(document)
    assert ran.code == 1
    assert words in ran.message
    assert ran.record is None


def test_a_missing_notebook_and_a_missing_kernel_are_told(engine: Engine) -> None:
    command = engine.command()
    done = subprocess.run(
        command, env=engine.environ(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "There is no notebook at" in engine.left(1, "", "").message
    engine.write(notebook("1"))
    command[command.index("--python") + 1] = sys.base_prefix + "/bin/python3"
    done = subprocess.run(
        command, env=engine.environ(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Does the environment have ipykernel?" in engine.left(1, "", "").message


def test_outputs_without_a_cells_source_and_empty_cells_do_no_harm(engine: Engine) -> None:
    document = notebook("", "   ", "print('only one')")
    document["cells"].insert(
        0, {"cell_type": "markdown", "id": "m", "metadata": {}, "source": "# T"}
    )
    ran = engine.run(document)
    assert ran.code == 0
    assert [(e["cell"], e["of"]) for e in ran.events] == [(1, 1), (1, 1)]
