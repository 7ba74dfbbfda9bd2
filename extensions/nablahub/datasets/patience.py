"""Going on when the hub was away for a moment: transfers are long, and take up where they were."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Final

from nablahub.core.errors import Unavailable

TRIES: Final = 14
FIRST_WAIT: Final = 0.1
LONGEST_WAIT: Final = 3.0


def patiently[T](work: Callable[[], T], done: Callable[[], int] = int) -> T:
    """Do work that may be done again, until the hub answers; for about half a minute.

    Parameters
    ----------
    done : callable
        Tells how many bytes are done: while there are more each time, patience does not end, so
        that a large file comes through on a line that is cut again and again.

    Raises
    ------
    Unavailable
        When it stays away.
    """
    wait, left, before = FIRST_WAIT, TRIES, done()
    while True:
        try:
            return work()
        except Unavailable:
            if (now := done()) > before:
                wait, left, before = FIRST_WAIT, TRIES, now
            left -= 1
            if left <= 0:
                raise
            # Many clients of a store that was overloaded should not all come back at once.
            time.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, LONGEST_WAIT)
