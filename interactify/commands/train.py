"""`interactify train`: makes a network that follows clicks, from any segmentation network and photos with masks."""

from __future__ import annotations

import argparse

from interactify.commands.network_options import MODEL_HELP, note_random_weights
from interactify.errors import OptionError

PARTS = ("stem", "stem+decoder", "all", "low-rank")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument("photos", metavar="PHOTOS", help="a folder with images/ and masks/ (PNG: a number each object)")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the network and the training's state")
    parser.add_argument("--model", default="zoo", help=MODEL_HELP)
    parser.add_argument(
        "--parts", choices=PARTS, default="all",
        help="what is trained: stem (the image path stays exact), stem+decoder, low-rank (small deltas), all (default)",
    )  # fmt: skip
    parser.add_argument(
        "--method", choices=("ritm", "brs"), default="ritm",
        help="clicks on current errors, one after the other (ritm, the default), or many at once (brs)",
    )  # fmt: skip
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, metavar="N", help="how long, over all runs (60)")
    length.add_argument(
        "--steps", type=int, metavar="N", help="how many steps, instead: then a seed decides everything"
    )
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="squares in each pass (16)")
    parser.add_argument("--learning-rate", type=float, default=5e-4, metavar="X", help="at its highest (5e-4)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the batches")
    parser.add_argument("--side", type=int, metavar="N", help="of the squares, in network pixels")
    parser.add_argument("--target", type=int, metavar="CLASS", help="the class that is trained, of more than two")
    parser.add_argument("--device", metavar="NAME", help="where it is trained (cuda where there is a GPU, else cpu)")


def run(given: argparse.Namespace) -> int:
    """Train, and print the figures before and after; returns the exit status."""
    if given.model.split("@")[0] == "clicks":
        raise OptionError(
            "Expected the network that clicks are trained into, got one that has them. Try --model with the one inside."
        )
    # Not at the top, since they load torch: `interactify --help` reads this module.
    from interactify.learning import Recipe
    from interactify.models.build import build_model
    from interactify.training import train_for_clicks

    minutes = given.minutes if given.minutes is not None or given.steps is not None else 60.0
    recipe = Recipe(
        steps=given.steps,
        minutes=minutes,
        batch=given.batch,
        learning_rate=given.learning_rate,
        seed=given.seed,
    )
    model = build_model(given.model)
    note_random_weights(given.model)
    done = train_for_clicks(
        model,
        given.photos,
        given.out,
        parts=given.parts,
        method=given.method,
        recipe=recipe,
        target=given.target,
        side=given.side,
        built_from=given.model,
        device=given.device,
    )
    print(done)
    print(f"use it: interactify app PHOTOS --model clicks@{done.folder}")
    return 0
