"""Lines of our own in a task's log. Standard library only: pods write them, too."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

_OURS: Final = re.compile(r"nablahub: \d\d:\d\d:\d\d ")


def line(words: str) -> str:
    """Return a line that tells a sentence, and when."""
    return f"nablahub: {datetime.now(UTC):%H:%M:%S} {words}\n"


def is_ours(text: str) -> bool:
    """Whether a line of a log is one of these."""
    return _OURS.match(text) is not None
