"""How the demo shows its steps: a line with a bar each, on stderr."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)

#: Columns of the longest title.
WIDTH = 29


class Step:
    """One step while it runs.

    Parameters
    ----------
    progress : rich.progress.Progress
        Where its line is.
    task : rich.progress.TaskID
        Its line.
    """

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._announced: str | None = None
        self._task = task
        self.said = ""

    def at(self, done: float, total: float) -> None:
        """Move the bar."""
        self._progress.update(self._task, completed=done, total=total)

    def say(self, words: str) -> None:
        """Show what is done just now, or what came of it."""
        self.said = words
        self._progress.update(self._task, said=words)

    def announce(self, words: str) -> None:
        """Show what will take a while; on a line of its own where nothing moves."""
        self.say(words)
        if self._progress.disable and words != self._announced:
            self._progress.console.print(f"  {words} …", markup=False, soft_wrap=True)
        self._announced = words


class Report:
    """The steps of a demo and how long each took.

    Parameters
    ----------
    console : rich.console.Console
        Where they are shown.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, title: str) -> Iterator[Step]:
        """Show a step while the block runs; ``name`` is its key in :attr:`seconds`."""
        begun = time.monotonic()
        terminal = self.console.is_terminal
        bar = Progress(
            SpinnerColumn(finished_text="✓"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TimeElapsedColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            console=self.console,
            disable=not terminal,
        )
        with bar:
            step = Step(bar, bar.add_task(title.ljust(WIDTH), total=None, said=""))
            yield step
            step.at(1, 1)
        self.seconds[name] = round(time.monotonic() - begun, 3)
        if not terminal:
            took = self.seconds[name]
            line = f"✓ {title} ({took:.1f} s) {step.said}".rstrip()
            self.console.print(line, markup=False, soft_wrap=True)
