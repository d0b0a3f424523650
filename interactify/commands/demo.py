"""`interactify demo`: the embedded networks follow scripted clicks on the embedded photos, and pictures show how."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

FOLDER = "interactify-demo"
TRAINED = {
    "saliency": "trained on photos and masks, never shown a click",
    "clicks": "the same network, trained for clicks",
}
SUFFIXES = {"saliency": "", "clicks": "-trained-for-clicks"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--out", metavar="DIR", default=FOLDER, help="folder for the pictures (%(default)s)")


def run(given: argparse.Namespace) -> int:
    """Play the embedded photos' clicks; returns the exit status."""
    play_demo(given.out)
    return 0


def play_demo(out: str | os.PathLike[str] = FOLDER) -> list[Path]:
    """Play the demo: for each embedded network print its description and a table for each photo, and write its sheet.

    Args:
        out: folder for the pictures, created where missing.

    Returns:
        The paths of the sheets.

    Raises:
        OptionError: `out` can't be written to; raised before any work.
    """
    # Not at the top, since they load torch or NumPy: `interactify --help` reads this module.
    from interactify import export, zoo
    from interactify.commands.click_report import header, play, row, story
    from interactify.interactive import wrap

    folder = export.prepare_folder(out)
    start = time.perf_counter()
    written = []
    for name, trained in TRAINED.items():
        net = wrap(zoo.load(name))
        print(f"zoo.load({name!r}), {trained}, as interactify sees it:\n")
        print(net.describe(), end="\n\n", flush=True)
        for photo in zoo.photos():
            clicks = photo.clicks_of[name]
            session = net.session(photo.path)
            before = session.result
            results = []
            print(f"{photo.name}, {session.photo.shape[1]} x {session.photo.shape[0]} pixels ({photo.licence})")
            print(header())
            for click, result in play(session, clicks):
                results.append(result)
                print(row(click, result), flush=True)
            print()
            count = "1 click" if len(results) == 1 else f"{len(results)} clicks"
            title = f"{photo.name.replace('-', ' ').capitalize()}, {count}: {trained}"
            sheet = story(session.photo, before, clicks, results, title=title)
            written.append(export.write_picture(folder / f"{photo.name}{SUFFIXES[name]}.png", sheet))
    print(f"{len(written)} pictures written in {time.perf_counter() - start:.0f} s; look at them:")
    for path in written:
        print(f"  {path.resolve()}")
    return written
