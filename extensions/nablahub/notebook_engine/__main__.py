"""``python -m nablahub.notebook_engine --input in.ipynb --output out.ipynb``."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

from nablahub.notebook_engine.launch import launch
from nablahub.notebook_engine.reports import Reporter

START_SECONDS = 120
#: What a shell says for a process that a signal ended.
SIGNALLED = 128


def arguments(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="nablahub.notebook_engine", description=__doc__)
    parser.add_argument("--input", type=Path, required=True, help="The notebook to run")
    parser.add_argument(
        "--output", type=Path, required=True, help="The executed notebook, saved after each cell"
    )
    parser.add_argument("--copy", type=Path, help="Where a copy of it goes at the end")
    parser.add_argument("--parameters", default="{}", help="As JSON")
    parser.add_argument("--parameters-file", type=Path, help="File with them as JSON")
    parser.add_argument("--python", default=sys.executable, help="Python with ipykernel")
    parser.add_argument("--events", type=Path, help="File for a line of JSON about each cell")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Run the notebook; return the exit code."""
    asked = arguments(argv)
    message = os.environ.get("NABLAHUB_MESSAGE_FILE")
    reporter = Reporter(asked.events, Path(message) if message else None)
    try:
        return _run(asked, reporter)
    finally:
        reporter.close()


def _run(asked: argparse.Namespace, reporter: Reporter) -> int:
    file: Path | None = asked.parameters_file
    parameters = json.loads(asked.parameters if file is None else file.read_text(encoding="utf-8"))
    source = _readable(asked.input, reporter)
    if source is None:
        return 1
    asked.output.parent.mkdir(parents=True, exist_ok=True)
    launched = launch(asked.python, asked.input.absolute().parent)
    try:
        return _execute(asked, source, {
            "parameters": parameters, "launched": launched, "reporter": reporter,
        })  # fmt: skip
    finally:
        launched.end()
        if asked.copy is not None and asked.output.exists():
            asked.copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(asked.output, asked.copy)


def _readable(path: Path, reporter: Reporter) -> dict[str, Any] | None:
    """Return the notebook, or tell why it can't be run."""
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        metadata = notebook["metadata"]
    except FileNotFoundError:
        reporter.failure(f"There is no notebook at {path}.")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reporter.failure(f"{path} can't be read as a notebook: {error}.")
    else:
        language = metadata.get("language_info", {}).get("name") or metadata.get(
            "kernelspec", {}
        ).get("language", "python")
        if str(language).lower() in ("python", "ipython"):
            return dict(notebook)
        reporter.failure(f"The notebook is written in {language}; here runs Python.")
    return None


def _execute(asked: argparse.Namespace, source: dict[str, Any], options: dict[str, Any]) -> int:
    # Imported here: what is wrong with the arguments is told without waiting for these.
    from papermill.engines import papermill_engines
    from papermill.exceptions import PapermillExecutionError
    from papermill.execute import execute_notebook

    from nablahub.notebook_engine.engine import KernelDied, NablaEngine

    reporter: Reporter = options["reporter"]
    papermill_engines.register("nablahub", NablaEngine)
    kernel = source["metadata"].get("kernelspec", {}).get("name") or "python3"
    try:
        execute_notebook(
            str(asked.input.absolute()),
            str(asked.output.absolute()),
            engine_name="nablahub",
            kernel_name=kernel,
            language="python",
            progress_bar=False,
            start_timeout=START_SECONDS,
            cwd=str(asked.input.absolute().parent),
            **options,
        )
    except PapermillExecutionError as error:
        return _failed(error, asked.output, reporter)
    except KernelDied as error:
        text = str(error)
        reporter.failure(text[:1].upper() + text[1:] + ".", cell=error.cell, of=error.of)
        code = error.returncode or 0
        return SIGNALLED - code if code < 0 else 1
    except RuntimeError as error:  # jupyter_client's word for a kernel that never answered
        reporter.failure(f"The kernel did not start: {error}. Does the environment have ipykernel?")
        return 1
    return 0


def _failed(error: Any, record: Path, reporter: Reporter) -> int:
    """Tell which cell failed and with what."""
    print("\n".join(error.traceback), file=sys.stderr, flush=True)  # noqa: T201 -- the job's log
    cells = json.loads(record.read_text(encoding="utf-8"))["cells"]
    code = [c for c in cells if c["cell_type"] == "code" and "".join(c["source"]).strip()]
    number = next(
        (i for i, c in enumerate(code, 1) if c["metadata"]["papermill"].get("exception") is True), 0
    )
    reporter.failure(
        f"Cell {number} of {len(code)} failed: {error.ename}: {error.evalue}".rstrip(": "),
        cell=number,
        of=len(code),
        error=error.ename,
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
