"""The service's clock, which a test sets forward and back."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta

import pytest

from nablahub.core import times

_real = times.now


class Clock:
    """What all of our own modules take for the time, in the process of the test."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._ahead = timedelta()
        for name, module in list(sys.modules.items()):
            if name.startswith("nablahub.") and getattr(module, "now", None) is _real:
                patch.setattr(module, "now", self.now)

    def now(self) -> datetime:
        """Return the moment that this clock shows."""
        return _real() + self._ahead

    def jump(self, by: timedelta) -> None:
        """Set it forward, or back."""
        self._ahead += by
