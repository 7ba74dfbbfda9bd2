"""Pictures of what a benchmark printed: ``python -m tests.benchmarks.plots FILE [SVG]``.

``FILE`` holds what ``python -m tests.benchmarks.data --json`` printed, maybe of several runs; the
picture goes to ``docs/_static/speed-data.svg``. Each row has a bar for us and one for the peer, on
one logarithmic scale of seconds, with the ratio, what was meant, and the memory it took.
"""

from __future__ import annotations

import argparse
import json
import math
from html import escape
from pathlib import Path
from typing import Any, Final

TARGET: Final = Path(__file__).parents[2] / "docs/_static/speed-data.svg"
ROW, LEFT, PLOT, RIGHT, TOP = 46, 400, 420, 410, 98
OURS, PEER, GRID = "#5a4fcf", "#b9b9c6", "#e4e4ec"


def load(text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return the machine and the rows that were measured."""
    machine: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for line in text.splitlines():
        found = json.loads(line)
        if "machine" in found:
            machine = found["machine"]
        elif found["ours"]:
            rows.append(found)
    return machine, rows


def draw(machine: dict[str, Any], rows: list[dict[str, Any]]) -> str:
    """Return the picture."""
    times = [value for row in rows for value in (row["ours"], row["peer"]) if value]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    high = max(high, low + 1)

    def place(seconds: float) -> float:
        return LEFT + PLOT * (math.log10(seconds) - low) / (high - low)

    width, height = LEFT + PLOT + RIGHT, TOP + ROW * len(rows) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, sans-serif" font-size="13" fill="#26262e">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        '<text x="16" y="24" font-size="16" font-weight="600">Datasets: seconds, '
        "medians (logarithmic)</text>",
        f'<text x="16" y="44" fill="#6b6b78">{escape(_machine(machine))}</text>',
        _key(LEFT, "NablaHub", OURS), _key(LEFT + 110, "peer", PEER),
    ]  # fmt: skip
    for power in range(low, high + 1):
        x = place(10**power)
        parts.append(f'<path d="M{x:.1f} {TOP - 8}V{height - 16}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x:.1f}" y="{TOP - 12}" text-anchor="middle" fill="#6b6b78">')
        parts.append(f"{10**power:g} s</text>")
    for number, row in enumerate(rows):
        parts += _row(row, TOP + ROW * number, place)
    return "\n".join([*parts, "</svg>", ""])


def _machine(machine: dict[str, Any]) -> str:
    shown = ("cpu", "cpus", "memory_gib", "kernel", "python", "load")
    return ", ".join(f"{name} {machine[name]}" for name in shown if name in machine)


def _key(x: float, name: str, colour: str) -> str:
    box = f'<rect x="{x}" y="53" width="12" height="8" fill="{colour}"/>'
    return f'{box}<text x="{x + 17}" y="62" fill="#6b6b78">{name}</text>'


def _row(row: dict[str, Any], top: float, place: Any) -> list[str]:
    parts = [f'<text x="16" y="{top + 21}">{escape(row["name"].strip())}</text>']
    for value, name, y, colour in (
        (row["ours"], "", top + 6, OURS), (row["peer"], row["peer_is"], top + 21, PEER)
    ):  # fmt: skip
        if value:
            end = place(value)
            parts.append(
                f'<rect x="{LEFT}" y="{y}" width="{max(end - LEFT, 1):.1f}" height="13" '
                f'fill="{colour}"/><text x="{end + 5:.1f}" y="{y + 11}" font-size="11">'
                f"{value:.3g} s {escape(name)}</text>"
            )
    x = LEFT + PLOT + 160
    said = "" if row["ratio"] is None else f"{row['ratio']:.2g}×"
    if row["goal"] is not None:
        said += f" (meant: ≥ {row['goal']:.2g}×)"
    elif row["most"] is not None:
        said += f" meant: ≤ {row['most'] * 1000:g} ms"
    if row["met"] is not None:
        said += " ✓" if row["met"] else " ✗"
    memory = ", ".join(f"{name} {mib:.0f}" for name, mib in row["peak_rss_mib"].items())
    parts.append(f'<text x="{x}" y="{top + 17}" font-weight="600">{escape(said.strip())}</text>')
    if memory:
        parts.append(f'<text x="{x}" y="{top + 32}" font-size="11" fill="#6b6b78">')
        parts.append(f"peak MiB: {escape(memory)}</text>")
    return parts


def main() -> None:
    """Draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="what --json printed")
    parser.add_argument("svg", type=Path, nargs="?", default=TARGET, help="where the picture goes")
    given: Any = parser.parse_args()
    given.svg.write_text(draw(*load(given.file.read_text())), encoding="utf-8")


if __name__ == "__main__":
    main()
