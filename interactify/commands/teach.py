"""`interactify teach`: trains a network on accepted masks, says what it gained, and where its new weights are."""

from __future__ import annotations

import argparse
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from interactify.commands.network_options import add_device_option, add_network_options, network

PARTS_HELP = "what is trained: all, stem+decoder (all but the encoder), low-rank (few numbers) (%(default)s)"


class Destination(NamedTuple):
    """Where new weights go: their file, the `--model` that takes them, and a saved folder whose other files go along.

    `model` is empty where no text names the network with these weights.
    """

    checkpoint: Path
    model: str
    beside: Path | None = None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "folder",
        metavar="FOLDER",
        help="photos with accepted masks: images/ and masks/; the folder of `interactify app`, of which photos marked "
        "as done count; photos with NAME-mask.png, as `interactify segment` writes them; or photos with their sessions "
        "NAME.npz",
    )
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="folder for the new weights and curves (weights beside the old ones, FOLDER/taught)",
    )
    parser.add_argument("--photos", metavar="DIR", help="where the photos are, if they lie elsewhere than usual")
    parser.add_argument("--parts", metavar="NAME", default="all", help=PARTS_HELP)
    parser.add_argument("--steps", type=int, metavar="N", help="how many steps of the training (150)")
    parser.add_argument("--batch", type=int, metavar="N", help="how many photos in each step (4)")
    parser.add_argument("--learning-rate", type=float, metavar="X", help="at its highest (0.0002)")
    parser.add_argument(
        "--held-back", type=float, metavar="SHARE", default=0.2,
        help="the share of photos that are not trained on, but measured on (%(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--clicks", type=int, metavar="N", default=5, help="at most N simulated clicks for each object (%(default)s)"
    )
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="of what is held back, and of the training")
    add_device_option(parser)
    add_network_options(parser)


def run(given: argparse.Namespace) -> int:
    """Train, measure, write the new weights, and print the figures; returns the exit status."""
    # Not at the top, since it loads torch: `interactify --help` reads this module.
    from interactify.training.teach import RECIPE, teach

    folder, out = Path(given.folder), None if given.out is None else Path(given.out)
    changes = {"steps": given.steps, "batch": given.batch, "learning_rate": given.learning_rate, "seed": given.seed}
    recipe = replace(RECIPE, **{name: value for name, value in changes.items() if value is not None})
    to = destination(given.model, folder, out)
    lesson = teach(
        network(given),
        folder,
        out=folder / "taught" if out is None else out,
        checkpoint=to.checkpoint,
        photos=given.photos,
        parts=given.parts,
        recipe=recipe,
        held_back=given.held_back,
        clicks=given.clicks,
        seed=given.seed,
    )
    if to.beside is not None:
        for path in to.beside.glob("*.json"):
            if path.name != "model.safetensors.index.json":  # of weights in several files
                shutil.copyfile(path, to.checkpoint.parent / path.name)
    print(lesson)
    print(f"weights: {lesson.checkpoint}")
    print(f"curves:  {(folder / 'taught' if out is None else out) / 'curves.svg'}")
    if not lesson.better:
        print("not better on the photos that were held back: keep the old weights, or try with more photos")
    elif to.model:
        print(f"next:    interactify app PHOTOS --model {to.model}")
    return 0


def destination(model: str, folder: Path, out: Path | None) -> Destination:
    """Where the new weights of a network go: beside its old ones, where those are in a file.

    Args:
        model: the text of `--model`.
        folder: of the accepted masks; for networks without a file of weights.
        out: the folder that was asked for.

    >>> where = destination("unet/resnet34@nets/w.pt", Path("done"), None)
    >>> where.checkpoint.as_posix(), where.model
    ('nets/w-taught.pt', 'unet/resnet34@nets/w-taught.pt')
    >>> destination("unet/resnet34@nets/w-taught.pt", Path("done"), None).checkpoint.as_posix()
    'nets/w-taught2.pt'
    >>> destination("zoo", Path("done"), None).model
    'zoo@done/taught/taught.safetensors'
    """
    name, _, old = model.strip().partition("@")
    family, _, saved = name.partition("/")
    if not name or (family == "transformers" and Path(saved).expanduser().is_dir()):
        beside = Path(saved if name else old).expanduser()
        new = (out or beside.parent) / _taught(beside.name)
        return Destination(new / "model.safetensors", f"transformers/{new}" if name else f"@{new}", beside)
    if old:
        path = Path(old).expanduser()
        stem, ending = (path.name, ".safetensors") if path.is_dir() else (path.stem, path.suffix)
        checkpoint = (out or path.parent) / f"{_taught(stem)}{'.safetensors' if ending == '.safetensors' else '.pt'}"
    else:
        checkpoint = (out or folder / "taught") / "taught.safetensors"
    return Destination(checkpoint, "" if family == "transformers" else f"{name}@{checkpoint}")


def _taught(name: str) -> str:
    """The name of what was taught: NAME-taught, then NAME-taught2, …, so that no file that is in use is replaced."""
    found = re.fullmatch(r"(.*)-taught([0-9]*)", name)
    return f"{name}-taught" if found is None else f"{found[1]}-taught{int(found[2] or 1) + 1}"
