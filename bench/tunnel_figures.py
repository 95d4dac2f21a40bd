"""Figures of the tunnels, and the table that they make."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HEADING = "\n## Tunnels\n"
COLUMNS = ("qanat", "rathole TLS", "rathole plain", "frp", "direct")


@dataclass(slots=True)
class Figure:
    """One line of the table: what was found, a value a round for each product."""

    row: str
    unit: str
    aims: tuple[tuple[str, float], ...] = ()
    """So many times the value of another product, at least."""
    least: float | None = None
    most: float | None = None
    is_less_better: bool = False
    values: dict[str, list[float]] = field(default_factory=dict)

    def add(self, product: str, value: float) -> None:
        """Add what one round has found."""
        self.values.setdefault(product, []).append(value)

    def times(self, product: str) -> float | None:
        """Median over the rounds of the quotient with another product."""
        ours, theirs = self.values.get("qanat"), self.values.get(product)
        if not ours or not theirs or not all(theirs):
            return None
        return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def report(figures: list[Figure]) -> str:
    """Write the table."""
    head = "| what | unit | " + " | ".join(COLUMNS) + " | qanat is | aim |"
    lines = [head, "|---" * (len(COLUMNS) + 4) + "|", *(report_line(figure) for figure in figures)]
    return "\n".join(lines)


def report_line(figure: Figure) -> str:
    """Write a line of it."""
    cells = []
    for column in COLUMNS:
        found = figure.values.get(column)
        cells.append(number(statistics.median(found)) if found else "–")
    words = (figure.row, figure.unit, *cells, against(figure), aim(figure))
    return f"| {' | '.join(words)} |"


def against(figure: Figure) -> str:
    """Say how Qanat compares, with those that the aim names or with all."""
    if figure.least is not None or figure.most is not None:
        return verdict(figure)
    named = [product for product, _ in figure.aims] or [
        c for c in COLUMNS[1:4] if c in figure.values
    ]
    found = [(product, figure.times(product)) for product in named]
    return ", ".join(f"{times:.2f} × {product}" for product, times in found if times is not None)


def verdict(figure: Figure) -> str:
    """Say whether a bound is kept."""
    ours = figure.values.get("qanat")
    if not ours:
        return ""
    median = statistics.median(ours)
    is_kept = (figure.least is None or median >= figure.least) and (
        figure.most is None or median <= figure.most
    )
    return "within" if is_kept else "outside"


def aim(figure: Figure) -> str:
    """Say what is wanted."""
    parts = [f"≥ {times:g} × {product}" for product, times in figure.aims]
    if figure.least is not None:
        parts.append(f"≥ {figure.least:g}")
    if figure.most is not None:
        parts.append(f"≤ {figure.most:g}")
    return ", ".join(parts)


def number(value: float) -> str:
    """Write a number with three digits that mean something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def section(text: str) -> str:
    """Return the section about tunnels of a file of results, with its heading."""
    _, heading, rest = text.partition(HEADING)
    return heading + rest.partition("\n## ")[0]


def write_section(path: Path, body: str) -> None:
    """Put a section about tunnels at the end of a file of results, in place of the one before."""
    text = path.read_text() if path.exists() else ""
    old = section(text)
    kept = text.replace(old, "") if old else text
    path.write_text(f"{kept.rstrip()}\n{HEADING}\n{body}\n".lstrip())
