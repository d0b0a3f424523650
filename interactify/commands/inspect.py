"""`interactify inspect`: prints what was found in a network, which settings were chosen, and what a click costs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from interactify.commands.network_options import add_network_options, network
from interactify.errors import OptionError, quietly

if TYPE_CHECKING:  # it loads torch, and `interactify --help` reads this module
    from interactify.interactive import Interactive

MOST_PHOTOS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--points", action="store_true", help="also list every layer where variables could act")
    parser.add_argument(
        "--photos",
        metavar="FOLDER",
        help=f"also compare normalisations, resolutions and fits on photos, {MOST_PHOTOS} of the folder's at most",
    )
    parser.add_argument(
        "--speed", metavar="PHOTO",
        help="also measure what a click costs on a photo, within a minute: passes a click, time, memory",
    )  # fmt: skip
    parser.add_argument("--device", metavar="NAME", default="cpu", help="where the network runs: cpu, cuda, cuda:1, …")
    add_network_options(parser)


def run(given: argparse.Namespace) -> int:
    """Print the description; returns the exit status."""
    photos = None if given.photos is None else _some_of(Path(given.photos))
    if given.speed is not None:
        from interactify.pictures.image_files import size_of_file  # it loads NumPy

        size_of_file(given.speed, ranged=given.value_range is not None)  # raises for what is no picture
    net = network(given)
    print(net.describe())
    if given.points:
        print(f"\n{net.insertion_points()}")
    if photos is not None:
        _compare(net, photos)
    if given.speed is not None:
        from interactify.evaluation.click_cost import click_cost  # it loads torch

        print(f"\na click on {given.speed}\n{click_cost(net, given.speed, progress=True)}")
    return 0


def _some_of(folder: Path) -> list[Path]:
    """Photos of a folder, at most MOST_PHOTOS, from all over it."""
    from interactify.evaluation.data.dataset import pictures  # it loads NumPy

    found = pictures(folder)
    if not found:
        raise OptionError(f"Expected a folder with photos, got {folder}, which has none. Try another folder.")
    return found[:: -(-len(found) // MOST_PHOTOS)]


def _compare(net: Interactive, photos: list[Path]) -> None:
    """Print which normalisation fits, and with that one, which size."""
    from interactify.interactive import wrap  # it loads torch

    check = net.check_normalisation(photos, progress=True)
    print(f"\nnormalisation, on {len(photos)} photos\n{check}")
    if check.options is not None:
        with quietly():
            net = wrap(net.unwrap(), **{**net.options, **check.options})
    print(f"\nresolution and fit, on {len(photos)} photos\n{net.check_size(photos, progress=True)}")
