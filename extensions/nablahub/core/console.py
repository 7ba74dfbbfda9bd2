"""What all commands share: tables for people, JSON for programs, errors with a way out."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click

from nablahub.core.errors import Fault, NablaError
from nablahub.core.transport import Transport, connect

# pydantic and rich are loaded where they are used: together they take longer than many a command.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
MARKS: Mapping[str, str] = {
    "Pending": "◌", "Provisioned": "◌", "Running": "●", "Succeeded": "✓", "Failed": "✗",
    "Error": "✗", "Canceled": "■", "Skipped": "–", "Stopped": "■",
}  # fmt: skip


def stderr() -> Console:
    """Return the console for people: progress, messages, errors."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def plain(value: Any) -> Any:
    """Return what JSON has of a value: models as dicts, times as text."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(v) for v in value]
    return value


def emit_json(value: Any) -> None:
    """Print a value as one JSON document on stdout."""
    click.echo(json.dumps(plain(value), ensure_ascii=False, default=str))


def emit_table(columns: Mapping[str, Callable[[Any], Any]], rows: Iterable[Any]) -> None:
    """Print rows as a table on stdout.

    Parameters
    ----------
    columns : mapping of str to callable
        Heading → what to show of a row.
    rows : iterable
        The things.
    """
    from rich.console import Console
    from rich.table import Table

    out = Console(highlight=False)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in columns:
        table.add_column(heading.upper(), overflow="fold")
    for row in rows:
        table.add_row(*(_cell(show(row)) for show in columns.values()))
    out.print(table)


def emit_fields(fields: Mapping[str, Any]) -> None:
    """Print one thing as lines of ``name  value`` on stdout."""
    width = max(map(len, fields), default=0)
    for name, value in fields.items():
        click.echo(f"{name.ljust(width)}  {_cell(value)}")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return age(value)
    return str(value)


def age(moment: datetime) -> str:
    """Return how long ago a moment was, such as ``3m ago``."""
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{unit} ago"
    return f"{max(seconds, 0)}s ago"


def state_text(state: str) -> str:
    """Return a state as mark and word, such as ``✓ Succeeded``."""
    return f"{MARKS.get(state, '?')} {state}"


def size_text(size: int) -> str:
    """Return bytes for people, in powers of 1024."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def progress() -> Progress:
    """Return a progress display on stderr; it says nothing when stderr is no terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
    )

    console = stderr()
    return Progress(
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TimeElapsedColumn(), console=console, disable=not console.is_terminal, transient=False,
    )  # fmt: skip


@contextmanager
def transfer(words: str) -> Iterator[Callable[[int, int], None]]:
    """Show a transfer on stderr; yields what takes the bytes done and those in all."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    console = stderr()
    with Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=console, disable=not console.is_terminal,
    ) as bar:  # fmt: skip
        task = bar.add_task(words, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def fail(error: NablaError) -> None:
    """Print an error on stderr: what, each fault with its place, and the way out; nothing twice."""
    console = stderr()
    console.print(f"✗ {error.detail}", style="red", markup=False, soft_wrap=True)
    hints = [error.hint]
    for fault in error.errors:
        if fault.message.rstrip(".") in error.detail:
            hints.append(fault.hint)  # The only fault is what happened; programs want its place.
        else:
            console.print(f"  {fault}", markup=False, soft_wrap=True)
    for hint in dict.fromkeys(filter(None, hints)):
        console.print(f"  → {hint}", markup=False, soft_wrap=True)


def emit_error(error: NablaError, *, as_json: bool) -> None:
    """Print an error where the caller looks for it: words on stderr, with --json on stdout."""
    fail(error)
    if as_json:
        emit_json({
            "error": {
                "code": error.code, "detail": error.detail, "hint": error.hint,
                "errors": [Fault.as_dict(fault) for fault in error.errors],
            }
        })  # fmt: skip


def json_option[F: Callable[..., Any]](function: F) -> F:
    """Add ``--json`` to a command, handed over as ``as_json``."""
    option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
    return option(function)


def yes_option[F: Callable[..., Any]](function: F) -> F:
    """Add ``--yes`` to a command that deletes, handed over as ``yes``."""
    return click.option("--yes", "-y", is_flag=True, help="Do not ask.")(function)


def confirm_deletion(what: str, *, yes: bool) -> None:
    """Ask whoever sits at a terminal whether that shall go; a script is not asked.

    Raises
    ------
    click.Abort
        When the answer is no.
    """
    if not yes and sys.stdin.isatty():
        click.confirm(f"Delete {what} for good?", abort=True, err=True)


def guarded[F: Callable[..., Any]](function: F) -> F:
    """Turn errors and Ctrl-C of a command into words and exit codes."""

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except NablaError as error:
            emit_error(error, as_json=bool(kwargs.get("as_json")))
            sys.exit(EXIT_FAILED)
        except BrokenPipeError:
            sys.exit(EXIT_FAILED)
        except KeyboardInterrupt:
            interrupted()

    return cast("F", run)


def interrupted() -> NoReturn:
    """Leave as a program does that was ended by Ctrl-C."""
    stderr().print("Interrupted.", markup=False)
    sys.exit(EXIT_INTERRUPTED)


def hub_command[F: Callable[..., Any]](function: F) -> F:
    """Make a command of a function ``(hub: Transport, …, as_json: bool)``.

    It gets a transport to the hub, ``--json``, and errors in words with exit code 1.
    """

    @functools.wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        with connect_here() as hub:
            return function(hub, *args, **kwargs)

    return json_option(guarded(cast("F", run)))


def connect_here() -> Transport:
    """Connect as the command line does; see :func:`nablahub.core.transport.connect`."""
    return connect()
