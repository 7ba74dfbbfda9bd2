"""Kills: which part, in which phase, at which drawn moment of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

#: Repeats a failure; any text.
SEED = "NABLAHUB_CRASH_SEED"


def seed() -> str:
    """Return the seed that all moments of this test run are drawn from."""
    return os.environ.get(SEED) or "20261121"


@dataclass
class Clock:
    """Measures how long each phase of undisturbed work takes, to draw moments from."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measure a phase."""
        begun = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - begun


@dataclass
class Strike:
    """One blow within one phase of a piece of work.

    Parameters
    ----------
    phase : str
        Name of the phase.
    case : str
        What is drawn from, besides the seed of the test run.
    seconds : float
        How long the phase takes undisturbed.
    hit : callable
        Deals the blow, and returns what brings things back to normal.
    """

    phase: str
    case: str
    seconds: float
    hit: Callable[[], Callable[[], None]]
    chance: Random = field(init=False)
    delay: float = field(init=False)
    dealt: bool = False
    _error: BaseException | None = None

    def __post_init__(self) -> None:
        self.chance = Random(f"{seed()} {self.case}")
        self.delay = self.chance.random() * self.seconds

    def __str__(self) -> str:
        return (
            f"{SEED}={seed()}: {self.case}, {self.delay * 1000:.0f} ms into {self.phase} "
            f"(of about {self.seconds * 1000:.0f} ms)"
        )

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Be the phase of that name; the blow falls in it when it is ours, or just at its end."""
        if name != self.phase:
            yield
            return
        thread = threading.Thread(target=self._deal, name="strike")
        thread.start()
        try:
            yield
        finally:
            thread.join()
        if self._error is not None:
            raise self._error
        self.dealt = True

    def _deal(self) -> None:
        try:
            time.sleep(self.delay)
            recover = self.hit()
            # Here, since the phase itself may wait for it.
            recover()
        except BaseException as error:  # noqa: BLE001 - raised where the phase ends
            self._error = error
