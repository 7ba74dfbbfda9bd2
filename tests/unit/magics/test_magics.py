"""``%nabla`` in a real IPython shell, against the real service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from nablahub.jobs.runners.process.shutdown import end_all
from nablahub.magics.tables import Table
from tests.support.environments import FOLDER, environment
from tests.support.service import RunningService, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    environment("default")
    with running(tmp_path_factory.mktemp("hub"), environments_dir=FOLDER) as made:
        yield made
    end_all(made.state)


@pytest.fixture
def shell(
    service: RunningService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[InteractiveShell]:
    monkeypatch.setenv("NABLAHUB_URL", service.url)
    monkeypatch.setenv("NABLAHUB_TOKEN", "token-of-alice")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.delenv("PROJECT_ID", raising=False)
    config = Config()
    config.HistoryManager.enabled = False
    made = InteractiveShell(config=config)
    made.run_line_magic("load_ext", "nablahub")
    yield made
    hub = made.magics_manager.registry["NablaMagics"]._hub
    if hub is not None:
        hub.close()


def run(shell: InteractiveShell, cell: str) -> Any:
    """Run a cell as a notebook does; return its value, or raise what it raised."""
    result = shell.run_cell(cell)
    result.raise_error()
    return result.result


def test_words_list_what_there_is(
    shell: InteractiveShell, service: RunningService, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "`nablahub projects create NAME`" in repr(run(shell, "%nabla projects"))
    project = service.hub().projects.ensure("magic")
    rows = run(shell, "%nabla projects")
    assert isinstance(rows, Table)
    assert rows[0].id == project.id
    assert "magic" in repr(rows)
    assert "<td>magic</td>" in rows._repr_html_()
    assert run(shell, "%nabla project magic").id == project.id
    service.hub().datasets.ensure("numbers", project=project.id)
    assert [d.name for d in run(shell, "rows = %nabla datasets\nrows")] == ["numbers"]
    for word in ("models", "workflows", "runs", "deployments", "mounts"):
        assert list(run(shell, f"%nabla {word}")) == []
    capsys.readouterr()
    run(shell, "%nabla")
    assert "%%nabla workflow" in capsys.readouterr().out


def test_a_workflow_written_in_a_cell_runs(
    shell: InteractiveShell, service: RunningService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.hub().projects.ensure("magic")
    run(shell, "%nabla project magic")
    made = run(shell, """%%nabla workflow echo
inputs: {word: {type: string}}
jobs:
  say:
    uses: script@v1
    inputs: {word: workflow.inputs.word}
    outputs: {said: {type: string}}
    with: {script: "cp /inputs/word /outputs/said"}
""")  # fmt: skip
    assert made.name == "echo"
    ended = run(shell, "run = %nabla run echo word='good day'\nrun")
    assert ended.outputs["say.said"].value == "good day"
    told = capsys.readouterr().out
    assert "✓ Succeeded  say" in told
    assert told.splitlines()[-2:] == [
        "JOB  STATE        OUTPUTS         MESSAGE",
        "say  ✓ Succeeded  said: good day  –",
    ]
    html = shell.display_formatter.format(ended)[0]["text/html"]
    assert "<td>said: good day</td>" in html
    for line in ("%nabla --help", "%nabla help", "%%nabla help\nx"):
        run(shell, line)
        assert capsys.readouterr().out.startswith("%nabla projects ")


def test_a_job_written_in_a_cell_runs_and_its_failure_fails_the_cell(
    shell: InteractiveShell, service: RunningService, capsys: pytest.CaptureFixture[str]
) -> None:
    service.hub().projects.ensure("magic")
    run(shell, "%nabla project magic")
    assert run(shell, "%%nabla job\necho from a job").state == "Succeeded"
    assert "from a job\n" in capsys.readouterr().out
    with pytest.raises(Exception, match="The job ended as Failed"):
        run(shell, "%%nabla job\nexit 4")


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%nabla dataset", "Did you mean 'datasets'"),
        ("%nabla nonsense", r"^%nabla knows no 'nonsense'. `%nabla help` lists the words.$"),
        ("%%nabla nonsense\nx", "^%%nabla knows no 'nonsense'. `%nabla help` lists the words.$"),
        ("%nabla run", "Say which workflow"),
        ("%nabla run nothing", "was not found"),
        ("%nabla projects all", "Nothing may follow"),
        ("%%nabla job\ntrue", "No project is chosen"),
        ("%nabla 'open", "can't be read"),
    ],
)
def test_what_can_not_be_done_is_said_and_fails_the_cell(
    shell: InteractiveShell, cell: str, words: str
) -> None:
    with pytest.raises(Exception, match=words):
        run(shell, cell)


def test_faults_of_a_spec_are_told_with_their_lines(
    shell: InteractiveShell, service: RunningService
) -> None:
    service.hub().projects.ensure("magic")
    run(shell, "%nabla project magic")
    with pytest.raises(Exception, match=r"line 1, column 18: There is no action 'nope@v1'"):
        run(shell, "%%nabla workflow bad\njobs: {a: {uses: nope@v1}}\n")
