"""`interactify replay`: repeats the interactions of a session's log, and writes the masks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("log", metavar="LOG", help="a file of JSON lines")
    parser.add_argument("photo", metavar="PHOTO", help="the picture file of that session")
    parser.add_argument("--out", metavar="DIR", default=".", help="folder for the files (the current one)")
    parser.add_argument("--format", metavar="NAME", action="append", default=[], help=FORMAT_HELP)
    parser.add_argument("--tolerance", type=float, metavar="PIXELS", default=0.0, help="as for segment")
    add_network_options(parser)


def run(given: argparse.Namespace) -> int:
    """Repeat the log's interactions, and write a mask for each object; returns the exit status."""
    formats, tolerance = formats_named(given.format or ["png"]), checked_tolerance(given.tolerance)
    log, photo = Path(given.log), Path(given.photo)
    if not log.is_file():
        raise InteractionError(
            f"Expected a log at {log}, got no such file. Try `interactify segment --log`, which writes one."
        )
    if not photo.is_file():
        raise PhotoError(f"Expected a picture file at {photo}, got no such file. Try its whole path.")
    # Not at the top, since they load torch or NumPy: `interactify --help` reads this module.
    from interactify import draw, export
    from interactify.export.files import safe_file_name
    from interactify.session.loading import replay

    folder = export.prepare_folder(given.out)
    session = replay(log, network(given), photo, progress=sys.stderr.isatty())
    drawn, unsatisfied = session.photo, 0
    safe_names = [safe_file_name(name, "object", keep="-_.") for name in session.objects]
    stems = [photo.stem] if len(safe_names) == 1 else [f"{photo.stem}-{name}" for name in safe_names]
    for stem in stems:  # raises where one is too long, before any is written
        file_names(formats, photo.parent / f"{stem}{photo.suffix}", "-overlay.png")
    for name, stem in zip(session.objects, stems, strict=True):
        result = session.switch(name)
        exported = Exported(result, photo.with_stem(stem), session.category(), tolerance)
        for path in write_formats(formats, folder, exported):
            print(path)
        drawn = draw.overlay(drawn, result.mask, clicks=result.clicks)
        unsatisfied += len(result.unsatisfied)
    if len(session.objects) > 1:
        print(export.write_labels(folder / f"{photo.stem}-labels.png", session.label_map()))
    print(export.write_picture(folder / f"{photo.stem}-overlay.png", drawn))
    if unsatisfied:
        print(f"interactify: note: {unsatisfied} of the interactions could not be satisfied", file=sys.stderr)
    return 0
