"""What the engine tells while it runs: lines for people, lines of JSON for programs."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

#: How much of a last word is kept (the job's `message`).
MESSAGE_BYTES = 2048


@dataclass
class Reporter:
    """Tells the start and end of each cell.

    Parameters
    ----------
    events : pathlib.Path or None
        File that gets a line of JSON for each event, as it happens.
    message : pathlib.Path or None
        File that gets the last word when the notebook fails.
    out : file
        Where the lines for people go.
    """

    events: Path | None = None
    message: Path | None = None
    out: TextIO = field(default_factory=lambda: sys.stdout)
    _file: TextIO | None = None
    _started: float = 0.0

    def start(self, cell: int, of: int, source: str) -> None:
        """Tell that code cell number ``cell`` (from 1) begins."""
        self._started = time.monotonic()
        title = next((line.strip() for line in source.splitlines() if line.strip()), "")
        self._say(f"cell {cell}/{of}  {title[:80]}")
        self._tell({"event": "start", "cell": cell, "of": of})

    def end(self, cell: int, of: int, *, ok: bool) -> None:
        """Tell that it ended, and how."""
        seconds = time.monotonic() - self._started
        self._say(f"cell {cell}/{of}  {'done' if ok else 'FAILED'} in {seconds:.2f} s")
        state = "Succeeded" if ok else "Failed"
        self._tell(
            {"event": "end", "cell": cell, "of": of, "state": state, "seconds": round(seconds, 4)}
        )

    def failure(self, text: str, **data: Any) -> None:
        """Tell why the notebook failed; the first line becomes the job's message."""
        self._say(text)
        self._tell({"event": "failed", "message": text, **data})
        if self.message is not None:
            self.message.parent.mkdir(parents=True, exist_ok=True)
            self.message.write_bytes(text.encode()[:MESSAGE_BYTES])

    def close(self) -> None:
        """Close the file of events."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _say(self, line: str) -> None:
        print(f"[notebook] {line}", file=self.out, flush=True)

    def _tell(self, event: dict[str, Any]) -> None:
        if self.events is None:
            return
        if self._file is None:
            self.events.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.events.open("a", buffering=1)
        self._file.write(json.dumps({**event, "at": round(time.time(), 3)}) + "\n")
