"""Curves of a metric against clicks as SVG, written without a plotting library: a page can contain them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from interactify.evaluation.metrics import continued

WIDTH, HEIGHT = 760, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 150, 20, 48  # margins with numbers, and with names at the lines' ends
INK, FADED, GRID = "#1c1e22", "#70747c", "#e4e4e0"


@dataclass(frozen=True)
class Line:
    """The curves of all objects, drawn as a line of their means; with `band` also as a band of the middle half."""

    name: str
    curves: Sequence[Sequence[float]]
    colour: str
    dashes: str = ""
    band: bool = False


def svg(lines: Sequence[Line], clicks: int) -> str:
    """Draw means over all objects against the number of clicks, from 0 to `clicks`.

    Args:
        lines: with values in [0, 1].
        clicks: the last number of clicks.

    Returns:
        An `<svg>` element, complete in itself.

    >>> svg([Line("IoU", [[0.5, 0.75], [0.7, 1.0]], "#1088ff")], 1).count("<polyline")
    1
    """
    means = {line.name: np.array([continued(c, clicks) for c in line.curves]) for line in lines}
    low = float(np.floor(min(values.mean(0).min() for values in means.values()) * 10 - 0.5) / 10)
    low = min(max(low, 0.0), 0.8)
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(k: float) -> float:
        return round(LEFT + wide * k / max(clicks, 1), 1)

    def y(value: float) -> float:
        return round(TOP + high * (1 - (max(value, low) - low) / (1 - low)), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="13">',
        f"<title>{escape(' and '.join(line.name for line in lines))} against clicks</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for tick in np.arange(round(low * 10), 11) / 10:
        parts.append(f'<path d="M{LEFT} {y(tick)}H{LEFT + wide}" stroke="{GRID}"/>')
        parts.append(_text(LEFT - 8, y(tick) + 4.5, f"{tick:.1f}", FADED, "end"))
    for k in range(0, clicks + 1, 1 if clicks <= 10 else 5 if clicks > 24 else 2):
        parts.append(f'<path d="M{x(k)} {TOP + high}v5" stroke="{FADED}"/>')
        parts.append(_text(x(k), TOP + high + 20, str(k), FADED, "middle"))
    parts.append(f'<path d="M{LEFT} {TOP + high}H{LEFT + wide}" stroke="{FADED}"/>')
    parts.append(_text(LEFT + wide / 2, HEIGHT - 8, "clicks", INK, "middle"))
    for line in lines:
        if line.band:
            lower, upper = np.percentile(means[line.name], [25, 75], axis=0)
            around = [*((x(k), y(v)) for k, v in enumerate(upper))]
            around += [(x(k), y(v)) for k, v in reversed(list(enumerate(lower)))]
            parts.append(f'<polygon points="{_points(around)}" fill="{line.colour}" opacity="0.13"/>')
    labels: list[float] = []  # their heights
    for line in lines:
        mean = means[line.name].mean(0)
        dashes = f' stroke-dasharray="{line.dashes}"' if line.dashes else ""
        points = _points([(x(k), y(v)) for k, v in enumerate(mean)])
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2.5"{dashes} '
            'stroke-linejoin="round"/>'
        )
        for k, value in enumerate(mean):
            note = escape(f"{line.name} after {k} clicks: {value:.3f}")
            parts.append(
                f'<circle cx="{x(k)}" cy="{y(value)}" r="3" fill="{line.colour}"><title>{note}</title></circle>'
            )
        label = y(float(mean[-1])) + 4.5
        while any(abs(label - other) < 16 for other in labels):
            label += 1
        labels.append(label)
        parts.append(_text(LEFT + wide + 10, label, f"{line.name} {mean[-1]:.3f}", line.colour, "start"))
    return "\n".join([*parts, "</svg>"])


def _points(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in points)


def _text(x: float, y: float, text: str, colour: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(text)}</text>'
