"""Going on when the hub was away for a moment: transfers are long, and take up where they were."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from nablahub.core.errors import Unavailable

TRIES: Final = 14
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 3.0


def patiently[T](work: Callable[[], T]) -> T:
    """Do work that may be done again, until the hub answers; for about half a minute.

    Raises
    ------
    Unavailable
        When it stays away.
    """
    wait = FIRST_WAIT
    for _ in range(TRIES - 1):
        try:
            return work()
        except Unavailable:
            time.sleep(wait)
            wait = min(2 * wait, LONGEST_WAIT)
    return work()
