"""How clicks are reported as they are played: a table on the terminal, and a contact sheet of the masks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from interactify import draw
from interactify.draw import Mark, Picture
from interactify.interactions import Click
from interactify.refinement.result import Result
from interactify.session import Session

COLUMNS = ("click", "satisfied", "changed pixels", "evaluations", "milliseconds")
DETAIL = 900  # pixels: small photos are enlarged to this longest side, so that lines and discs stay crisp


def play(session: Session, clicks: Iterable[Mark]) -> Iterator[tuple[Mark, Result]]:
    """Apply clicks to a session one after another; yields each with its result as soon as it is computed."""
    for click in clicks:
        yield click, session.click(x=click.x, y=click.y, positive=click.positive)


def header() -> str:
    """The first two lines of a table of clicks."""
    names = f"  {COLUMNS[0]:<16}{COLUMNS[1]:>11}{COLUMNS[2]:>16}{COLUMNS[3]:>13}{COLUMNS[4]:>14}"
    return f"{names}\n  {'-' * (len(names) - 2)}"


def row(click: Mark, result: Result) -> str:
    """One line of a table of clicks, under `header()`."""
    satisfied = "yes" if result.satisfied else "no"
    return (
        f"  {name(click):<16}{satisfied:>11}{changed_pixels(result):>16,}{result.evaluations:>13}"
        f"{result.seconds * 1000:>14,.0f}"
    )


def name(click: Mark) -> str:
    """A click in a few characters: its sign and its pixel.

    >>> name(Click(x=120, y=80, positive=False))
    '- (120, 80)'
    """
    return f"{'+' if click.positive else '-'} ({click.x:g}, {click.y:g})"


def changed_pixels(result: Result) -> int:
    """How many pixels have another label than in the previous result."""
    return int(np.sum(result.changed))


def story(photo: Picture, before: Result, clicks: Sequence[Mark], results: Sequence[Result], *, title: str) -> Picture:
    """Draw a contact sheet: the photo, the network's own prediction, and the mask after each click.

    Args:
        photo: (H, W, 3) uint8.
        before: the result before the first click.
        clicks: in pixels of the photo, in the order of their results.
        results: one after each click.
        title: one line above the panels.

    Returns:
        (H', W', 3) uint8.
    """
    factor = max(1, -(-DETAIL // max(photo.shape[:2])))
    large = photo if factor == 1 else _enlarged(photo, factor)
    panels = [
        ("Photo", large),
        ("Before the first click\nthe network's own prediction", _overlay(large, before, (), factor)),
    ]
    for number, (click, result) in enumerate(zip(clicks, results, strict=True), start=1):
        kind = "this belongs to it" if click.positive else "this does not"
        changed = changed_pixels(result)
        outcome = f"{changed:,} pixels changed" if changed else "already so: nothing changed"
        if not result.satisfied:
            outcome += ", a click not satisfied"
        caption = f"Click {number}: {kind}\n{outcome}, {result.seconds * 1000:,.0f} ms"
        panels.append((caption, _overlay(large, result, clicks[:number], factor)))
    return draw.contact_sheet(panels, title=title)


def _overlay(enlarged: Picture, result: Result, clicks: Sequence[Mark], factor: int) -> Picture:
    mask = np.repeat(np.repeat(result.mask, factor, axis=0), factor, axis=1)
    # The middle of an enlarged pixel, not its first corner.
    moved = [Click((c.x + 0.5) * factor - 0.5, (c.y + 0.5) * factor - 0.5, c.positive) for c in clicks]
    return draw.overlay(enlarged, mask, clicks=moved)


def _enlarged(photo: Picture, factor: int) -> Picture:
    size = (photo.shape[1] * factor, photo.shape[0] * factor)
    return np.array(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
