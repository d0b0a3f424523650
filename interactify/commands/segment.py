"""`interactify segment`: applies clicks to a photo, and writes the mask and an overlay."""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from interactify.commands.network_options import add_network_options, network
from interactify.errors import InteractionError, PhotoError
from interactify.export.formats import (
    FORMAT_HELP,
    Exported,
    checked_tolerance,
    file_names,
    formats_named,
    write_formats,
)

CLICK_HELP = """a click at pixel x, y (x to the right, y down); a minus before x means that the pixel does not belong to
the object (-120,80; at the left border -0,80). Repeat it: clicks are applied in the given order"""


class ClickArgument(NamedTuple):
    """A click as typed: pixels, and whether the pixel belongs to the object."""

    x: float
    y: float
    positive: bool


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("photo", metavar="PHOTO", help="a picture file")
    parser.add_argument("--click", metavar="[-]x,y", action="append", default=[], help=CLICK_HELP)
    parser.add_argument("--out", metavar="DIR", default=".", help="folder for the files (the current one)")
    parser.add_argument("--format", metavar="NAME", action="append", default=[], help=FORMAT_HELP)
    parser.add_argument(
        "--tolerance", type=float, metavar="PIXELS", default=0.0,
        help="simplify the outlines of coco, geojson and yolo by at most PIXELS; by default they are exact",
    )  # fmt: skip
    parser.add_argument("--log", action="store_true", help="also write PHOTO-log.jsonl, for `interactify replay`")
    add_network_options(parser)


def run(given: argparse.Namespace) -> int:
    """Apply the clicks, and write mask and overlay; returns the exit status."""
    # Errors that need no network to be found are raised before one is built.
    clicks = [parse_click(text) for text in given.click]
    formats, tolerance = formats_named(given.format or ["png"]), checked_tolerance(given.tolerance)
    photo = Path(given.photo)
    if not photo.is_file():
        raise PhotoError(f"Expected a picture file at {photo}, got no such file. Try its whole path.")
    # Not at the top, since they load torch or NumPy: `interactify --help` reads this module.
    from interactify import draw, export
    from interactify.commands import click_report
    from interactify.export.files import write_whole
    from interactify.interactions.click import Click, checked
    from interactify.pictures.image_files import size_of_file

    size = size_of_file(photo, ranged=given.value_range is not None)
    for click in clicks:
        checked(Click(*click), size)
    file_names(formats, photo, "-overlay.png", *(["-log.jsonl"] if given.log else []))  # raises where one is too long
    folder = export.prepare_folder(given.out)
    session = network(given).session(photo)
    result = session.result
    if clicks:
        print(click_report.header())
    for mark, result in click_report.play(session, clicks):
        print(click_report.row(mark, result), flush=True)
    applied = [each for each in session.interactions if isinstance(each, Click)]
    drawn = draw.overlay(session.photo, result.mask, clicks=applied)
    for path in write_formats(formats, folder, Exported(result, photo, session.category(), tolerance)):
        print(path)
    print(export.write_picture(folder / f"{photo.stem}-overlay.png", drawn))
    if given.log:
        print(write_whole(folder / f"{photo.stem}-log.jsonl", session.log().encode()))
    if not clicks and session.wrapped.network.reads_clicks:
        print(
            "interactify: note: this network was trained for clicks and got none, so the mask is a guess. Try --click",
            file=sys.stderr,
        )
    if not result.satisfied:
        print("interactify: note: not every click could be satisfied", file=sys.stderr)
    return 0


def parse_click(text: str) -> ClickArgument:
    """Read a click: ``x,y``, or ``-x,y`` for a negative one.

    Raises:
        InteractionError: `text` is no click.

    >>> parse_click("120,80"), parse_click("-0,80")
    (ClickArgument(x=120, y=80, positive=True), ClickArgument(x=0, y=80, positive=False))
    """
    parts = re.fullmatch(r"\s*(?P<sign>[+-]?)(?P<x>[^\s,+-][^\s,]*)\s*,\s*(?P<y>[^\s,]+)\s*", text)
    if parts is None:
        raise InteractionError(f"Expected a click as x,y or, for a negative one, -x,y; got {text!r}. Try 120,80.")
    return ClickArgument(_coordinate(parts["x"], text), _coordinate(parts["y"], text), parts["sign"] != "-")


def with_negatives_joined(arguments: Sequence[str]) -> list[str]:
    """Join ``--click -120,80`` to ``--click=-120,80``, since argparse takes words with a leading minus for options.

    Likewise after ``--mean`` and ``--std``.

    >>> with_negatives_joined(["segment", "a.png", "--click", "-120,80", "--click", "3,4"])
    ['segment', 'a.png', '--click=-120,80', '--click', '3,4']
    """
    joined: list[str] = []
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*joined, word, *rest]
        if word in ("--click", "--mean", "--std") and rest and re.match(r"-[^-].*,|-[\d.]", rest[0]):
            word = f"{word}={rest.pop(0)}"
        joined.append(word)
    return joined


def _coordinate(text: str, click: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InteractionError(f"Expected pixels as numbers in the click {click!r}, got {text!r}. Try 120,80.")
    return int(value) if value.is_integer() else value
