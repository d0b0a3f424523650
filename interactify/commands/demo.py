"""`interactify demo`: the embedded network follows scripted clicks on the embedded photos, and pictures show how."""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from interactify import draw, export

if TYPE_CHECKING:
    from interactify.draw.overlays import Mark, Picture
    from interactify.refinement.result import Result
    from interactify.session.session import Session

COLUMNS = ("click", "satisfied", "changed pixels", "evaluations", "milliseconds")
FOLDER = "interactify-demo"
DETAIL = 900  # pixels: small photos are enlarged to this longest side, so that lines and discs stay crisp


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--out", metavar="DIR", default=FOLDER, help="folder for the pictures (%(default)s)")


def run(given: argparse.Namespace) -> int:
    """Play the embedded photos' clicks; returns the exit status."""
    play_demo(given.out)
    return 0


def play_demo(out: str | os.PathLike[str] = FOLDER) -> list[Path]:
    """Play the demo: print what was found and one table for each photo, write one contact sheet for each photo.

    Args:
        out: folder for the pictures, created where missing.

    Returns:
        The paths of the sheets.

    Raises:
        OptionError: where `out` can't be written to; before any work.
    """
    folder = export.prepare_folder(out)
    from interactify import zoo
    from interactify.interactive import wrap

    begun = time.perf_counter()
    net = wrap(zoo.load())
    print("The embedded network, trained on photos and masks and never shown a click, as interactify sees it:\n")
    print(net.describe(), end="\n\n", flush=True)
    written = []
    for photo in zoo.photos():
        session = net.session(photo.path)
        before = session.result
        results = []
        print(f"{photo.name}, {session.photo.shape[1]} x {session.photo.shape[0]} pixels ({photo.licence})")
        print(header())
        for click, result in play(session, photo.clicks):
            results.append(result)
            print(row(click, result), flush=True)
        print()
        title = f"{photo.name.replace('-', ' ').capitalize()}, {len(results)} clicks"
        sheet = story(session.photo, before, photo.clicks, results, title=title)
        written.append(export.write_picture(folder / f"{photo.name}.png", sheet))
    print(f"{len(written)} pictures written in {time.perf_counter() - begun:.0f} s; look at them:")
    for path in written:
        print(f"  {path.resolve()}")
    return written


def play(session: Session, clicks: Iterable[Mark]) -> Iterator[tuple[Mark, Result]]:
    """Make clicks in a session one after another; yields each with its result as soon as that is there."""
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
    """A click in a few characters: its sign and its place.

    >>> from types import SimpleNamespace
    >>> name(SimpleNamespace(x=120, y=80, positive=False))
    '- (120, 80)'
    """
    return f"{'+' if click.positive else '-'} ({click.x:g}, {click.y:g})"


def changed_pixels(result: Result) -> int:
    """How many pixels have another label than in the result before."""
    return int(np.sum(result.changed))


def story(photo: Picture, before: Result, clicks: Sequence[Mark], results: Sequence[Result], *, title: str) -> Picture:
    """Draw a contact sheet: the photo, the network's own prediction, and the mask after each click.

    Args:
        photo: (H, W, 3) uint8.
        before: the result before the first click.
        clicks: in pixels of the photo, in the order they were made.
        results: one after each click.
        title: one line above the panels.

    Returns:
        (H', W', 3) uint8.
    """
    factor = max(1, -(-DETAIL // max(photo.shape[:2])))
    large = photo if factor == 1 else _enlarged(photo, factor)
    panels = [
        ("Photo", large),
        ("Before the first click\nthe network's own prediction", _shown(large, before, (), factor)),
    ]
    for number, (click, result) in enumerate(zip(clicks, results, strict=True), start=1):
        kind = "this belongs to it" if click.positive else "this does not"
        changed = changed_pixels(result)
        outcome = f"{changed:,} pixels changed" if changed else "already so: nothing changed"
        if not result.satisfied:
            outcome += ", a click not satisfied"
        caption = f"Click {number}: {kind}\n{outcome}, {result.seconds * 1000:,.0f} ms"
        panels.append((caption, _shown(large, result, clicks[:number], factor)))
    return draw.contact_sheet(panels, title=title)


def _shown(photo: Picture, result: Result, clicks: Sequence[Mark], factor: int) -> Picture:
    from interactify.interactions.click import Click

    mask = np.repeat(np.repeat(result.mask, factor, axis=0), factor, axis=1)
    # The middle of an enlarged pixel, not its first corner.
    moved = [Click((c.x + 0.5) * factor - 0.5, (c.y + 0.5) * factor - 0.5, c.positive) for c in clicks]
    return draw.overlay(photo, mask, clicks=moved)


def _enlarged(photo: Picture, factor: int) -> Picture:
    from PIL import Image

    size = (photo.shape[1] * factor, photo.shape[0] * factor)
    return np.array(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
