"""What a comparison of inputs found: a table, and the line to write in `wrap`, or that it can't be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

SURE: Final = 0.9  # of the samples of photos that a winner has to win
STEADY: Final = 0.3  # agreement beyond chance under which a network shows nothing on these photos
FEWEST: Final = 3  # photos for an answer
ALIKE: Final = 0.97  # of the pixels that have the same label under two inputs which hardly differ


@dataclass(frozen=True)
class InputRow:
    """One way to prepare photos, and what the network does with them.

    Attributes:
        name: of the normalisation, or of size and fit.
        options: arguments of `wrap` for it.
        stable: how far the predictions for a photo, a part of it and a mirrored part agree, beyond chance: 1 at best,
            0 for chance and for a map of one class.
        sure: the mean probability of the predicted classes. It is shown, and not used: it is often highest for a wrong
            input.
        distance: how far the maps inside are from what the batch norms remember of the training, 0 at best; None
            without batch norms.
        wins: how often it was the best of the photos drawn anew with replacement, from 0 to 1.
    """

    name: str
    options: Mapping[str, Any]
    stable: float
    sure: float
    distance: float | None
    wins: float


@dataclass(frozen=True)
class InputCheck:
    """The result of `Interactive.check_normalisation` and `check_size`; `str` makes a table.

    Attributes:
        what: "normalisation" or "size".
        rows: the candidates, best first.
        photos: how many there were.
        alike: the share of the pixels that have the same label under the first two.
        by_statistics: whether the rows are ordered by `distance`; else they are by `stable`.
    """

    what: str
    rows: tuple[InputRow, ...]
    photos: int
    alike: float
    by_statistics: bool

    @property
    def options(self) -> dict[str, Any] | None:
        """The arguments of `wrap` for the best one; None where it can't be told."""
        return None if self.doubt else dict(self.rows[0].options)

    @property
    def line(self) -> str:
        """The options of the best one as one writes them: "mean=0.5, std=1.0"; whether or not it can be told."""
        return ", ".join(f"{name}={_text(value)}" for name, value in self.rows[0].options.items() if value is not None)

    @property
    def doubt(self) -> str:
        """Why it can't be told which one is right; "" where it can."""
        best = self.rows[0]
        if self.photos < FEWEST:
            return f"{self.photos} photos are too few: try {FEWEST} or more, better ten"
        steadiest = max(self.rows, key=lambda row: row.stable)
        if not self.by_statistics and best.stable < STEADY:
            return "with none are the predictions stable: try photos of what the network was trained for"
        if self.by_statistics and best.stable < 0.5 * steadiest.stable and steadiest.stable >= STEADY:
            return f"the maps inside fit {best.name}, but the predictions are far more stable with {steadiest.name}"
        if best.wins < SURE:
            others = [row.name for row in self.rows[1:] if row.wins > (1 - SURE) / 2] or [self.rows[1].name]
            nearly = "; their masks are nearly the same, so it matters little" if self.alike >= ALIKE else ""
            return f"{best.name} and {' and '.join(others[:2])} are too close{nearly}: more photos may tell"
        return ""

    def __str__(self) -> str:
        has_distance = self.rows[0].distance is not None
        table = [("", "stable", "sure", *(("distance inside",) if has_distance else ()), "best of photos drawn anew")]
        for row in self.rows:
            distance = (f"{row.distance:.3g}",) if row.distance is not None else ("",) if has_distance else ()
            table.append((row.name, f"{row.stable:.2f}", f"{row.sure:.2f}", *distance, f"{100 * row.wins:.0f} %"))
        widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in table
        ]
        if self.doubt:
            lines.append(f"Can't tell: {self.doubt}.")
        elif "as wrapped" in self.rows[0].name:
            lines.append(f"Best as it is wrapped: {self.line}")
        else:
            lines.append(f"Write in wrap(): {self.line}")
        return "\n".join(lines)


def _text(value: Any) -> str:
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    if isinstance(value, tuple):
        return f"({', '.join(f'{number:.5g}' for number in value)})"
    return f"{value:.5g}" if isinstance(value, float) else repr(value)
