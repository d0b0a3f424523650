"""`interactify demo`: its arguments."""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "--out", metavar="DIR", default="interactify-demo", help="folder for the pictures (%(default)s)"
    )


def run(given: argparse.Namespace) -> int:
    """Play the embedded photos' clicks; returns the exit status."""
    from interactify import demo

    demo.run(given.out)
    return 0
