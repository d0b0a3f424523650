"""`interactify inspect`: prints what was found in a network and which settings were chosen."""

from __future__ import annotations

import argparse

from interactify.commands.network_options import add_network_options, network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("--points", action="store_true", help="also list every layer where variables could act")
    add_network_options(parser)


def run(given: argparse.Namespace) -> int:
    """Print the description; returns the exit status."""
    net = network(given)
    print(net.describe())
    if given.points:
        print(f"\n{net.insertion_points()}")
    return 0
