"""What benchmarks share: medians and ratios of things timed side by side, and the machine."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any


@dataclass
class Row:
    """One comparison.

    Parameters
    ----------
    name : str
        What was done.
    unit : str
        ``s`` or ``ms``.
    ours, peer : list of float
        Single timings; the peer's may be empty.
    goal : str
        What the median or the ratio was meant to be.
    met : callable or None
        Says of the row whether the goal is met.
    command : str
        What the peer's figure is of.
    """

    name: str
    unit: str
    ours: list[float]
    peer: list[float] = field(default_factory=list)
    goal: str = ""
    met: Callable[[Row], bool] | None = None
    command: str = ""

    @property
    def median(self) -> float:
        """Our median."""
        return statistics.median(self.ours)

    @property
    def peer_median(self) -> float | None:
        """The peer's median."""
        return statistics.median(self.peer) if self.peer else None

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's: below 1 we are faster."""
        return None if self.peer_median is None else self.median / self.peer_median

    @property
    def overhead(self) -> float | None:
        """Ours less the peer's."""
        return None if self.peer_median is None else self.median - self.peer_median

    def as_dict(self) -> dict[str, Any]:
        """Return the row for JSON."""
        found = asdict(self)
        found.pop("met")
        return {
            **found,
            "ours": spread(self.ours), "peer": spread(self.peer), "runs": len(self.ours),
            "ratio": self.ratio, "overhead": self.overhead,
            "goal_met": self.met(self) if self.met else None,
        }  # fmt: skip

    def __str__(self) -> str:
        parts = [f"{self.name:<34} {show(self.ours)} {self.unit}"]
        if self.peer:
            parts.append(f"peer {show(self.peer)}")
            parts.append(f"ratio {self.ratio:.2f}, overhead {self.overhead:.3g} {self.unit}")
        if self.goal:
            verdict = "" if self.met is None else (" met" if self.met(self) else " MISSED")
            parts.append(f"goal {self.goal}:{verdict}")
        return "\n    ".join(parts)


def spread(times: list[float]) -> dict[str, float] | None:
    """Return minimum, median and maximum."""
    if not times:
        return None
    return {"min": min(times), "median": statistics.median(times), "max": max(times)}


def show(times: list[float]) -> str:
    """Return minimum / median / maximum as text."""
    return f"{min(times):.3g}/{statistics.median(times):.3g}/{max(times):.3g}"


def timed(work: Callable[[], Any]) -> float:
    """Return how many seconds the work takes."""
    start = perf_counter()
    work()
    return perf_counter() - start


def machine() -> dict[str, Any]:
    """Return what the machine is and how busy it was at the start."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def print_report(rows: list[Row], *, as_json: bool) -> None:
    """Print all rows for people, or one JSON object a row with the machine first."""
    if as_json:
        print(json.dumps({"machine": machine()}))
        for row in rows:
            print(json.dumps(row.as_dict()))
        return
    print("machine:", ", ".join(f"{k} {v}" for k, v in machine().items()))
    print("min/median/max of each:")
    for row in rows:
        print(row)
