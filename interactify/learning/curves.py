"""Loss and score over the steps of a training, drawn as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from interactify.export.files import write_whole

WIDTH, HEIGHT = 760, 360
LEFT, RIGHT, TOP, BOTTOM = 60, 60, 24, 44
INK, GRID, LOSS, SCORE = "#1c1e22", "#e4e4e0", "#c0392b", "#1074d8"

Points = Sequence[tuple[int, float]]


def draw_curves(path: Path, losses: Points, scores: Points) -> Path:
    """Write the curves of a training: the loss (smoothed, left axis) and the score (right axis), over the steps.

    Args:
        path: the SVG file.
        losses, scores: (step, value), in order.

    Returns:
        `path`.
    """
    return write_whole(path, svg(losses, scores).encode())


def svg(losses: Points, scores: Points) -> str:
    """The curves as an `<svg>` element, complete in itself.

    >>> svg([(20, 1.0), (40, 0.5)], [(40, 0.7)]).count("<polyline")
    2
    """
    last = max((step for step, _ in (*losses, *scores)), default=1)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<title>Loss and score over the steps of the training</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
    ]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = LEFT + (WIDTH - LEFT - RIGHT) * share
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{round(last * share)}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle" fill="{INK}">steps</text>')
    parts += _line(_smoothed(losses), last, LOSS, "loss", left=True)
    parts += _line(scores, last, SCORE, "score", left=False)
    return "".join((*parts, "</svg>"))


def _smoothed(points: Points, keep: float = 0.8) -> list[tuple[int, float]]:
    smooth: list[tuple[int, float]] = []
    for step, value in points:
        smooth.append((step, value if not smooth else keep * smooth[-1][1] + (1 - keep) * value))
    return smooth


def _line(points: Points, last: int, colour: str, name: str, *, left: bool) -> list[str]:
    """A curve with its own axis: lowest and highest value, at one side."""
    if not points:
        return []
    values = [value for _, value in points]
    low, high = min(values), max(values)
    span = high - low or 1.0

    def at(step: int, value: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * step / max(last, 1)
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / span)

    corners = [at(*point) for point in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
    x, anchor = (LEFT - 6, "end") if left else (WIDTH - RIGHT + 6, "start")
    texts = [
        f'<text x="{x}" y="{at(0, value)[1] + 4:.1f}" text-anchor="{anchor}" fill="{colour}">{value:.3f}</text>'
        for value in sorted({low, high})
    ]
    few = corners if len(points) < 80 else []
    dots = [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>' for x, y in few]
    label = f'<text x="{x}" y="{TOP - 10}" text-anchor="{anchor}" fill="{colour}">{name}</text>'
    return [f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>', *dots, *texts, label]
