"""`interactify inspect`: what was found of a network and what was chosen."""

from __future__ import annotations

import argparse

from interactify.commands.network_options import add_network_options, network


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--points", action="store_true", help="also list every layer that variables could act at")
    add_network_options(parser)


def run(given: argparse.Namespace) -> int:
    """Print it; returns the exit status."""
    net = network(given)
    print(net.describe())
    if given.points:
        print(f"\n{net.insertion_points()}")
    return 0
