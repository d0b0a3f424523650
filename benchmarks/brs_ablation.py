"""Table 2 of the BRS paper on a small training of its network: with and without the fine decoder, with and without BRS.

    python -m benchmarks.brs_ablation --data DIR --out FOLDER --minutes 100

`interactify.zoo.brs_densenet()` is trained as published, but on what is at hand: maps of distances, 1 to 10 positive
and 0 to 10 negative clicks at once, spread by k-medoids, cross-entropy; first without the fine decoder, then the whole
network with it, in the published proportion of 20 to 15. The simulated user then clicks on DIR/GrabCut50, four times:
after each of the two stages, with the forward pass alone and with BRS, whose variables are the interaction maps.

Everything is kept in FOLDER. A command that was interrupted goes on when it is given again: finished stages, rows and
photos are not repeated. The figures go to benchmarks/results/, as JSON and as curves of IoU against clicks.

What differs from the paper: the photos (the click networks' own, or those of `--train`; not SBD), the length, the size
of the squares, and by default half the width and an encoder that begins at random. The network with the fine decoder
was trained longer than the one without it, since it goes on from there.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch
from safetensors.torch import save
from torch import nn
from tqdm import tqdm

import interactify
from benchmarks.accuracy import machine, recorded, summary
from interactify import zoo
from interactify.errors import OptionError
from interactify.evaluation import AnnotatedPhoto, Evaluation, folder
from interactify.evaluation.reports.curves import Line, svg
from interactify.evaluation.results_file import ResultsFile
from interactify.evaluation.run import check_clicks, click_through
from interactify.evaluation.simulated_user import user_named
from interactify.export.files import prepare_folder, write_json, write_whole
from interactify.learning import ClickTask, Drawing, LabelledPhoto, ObjectCrops, Recipe, groups_of, photos_in, train
from interactify.learning.checkpoint import Progress
from interactify.learning.losses import cross_entropy
from interactify.models.build import quickest_device
from interactify.session.session_file import fingerprint
from interactify.training.clicks import BRS
from interactify.zoo.brs_densenet import PUBLISHED_GROWTH
from interactify.zoo.train import photos_of_objects

RESULT = Path(__file__).parent / "results" / "brs-ablation.json"
WORK = Path.home() / ".cache" / "interactify" / "brs-ablation"
EPOCHS: Final = {"coarse": 20, "fine": 15}  # as published: first without the fine decoder, then with it
PRETRAINED_RATE = 0.15  # the learning rate of ImageNet's weights, relative to the rest
HELD_BACK = 24  # photos, on which the curves of the training are scored
DIVISOR = 32  # of the sides that the network takes


class Row(NamedTuple):
    """A row of table 2: after which stage, with BRS or without, and its published NoC@85 and NoC@90 on GrabCut."""

    stage: str
    brs: bool
    published: tuple[float, float]


ROWS: Final = {
    "coarse": Row("coarse", False, (14.34, 17.4)),
    "coarse + BRS": Row("coarse", True, (6.60, 10.28)),
    "fine": Row("fine", False, (4.12, 6.12)),
    "fine + BRS": Row("fine", True, (2.60, 3.60)),
}
_COLOURS: Final = {"coarse": "#c0392b", "fine": "#1074d8"}


@dataclass(frozen=True)
class Settings:
    """What the training depends on, beside its photos and the recipe.

    Attributes:
        side: of the squares that are trained on, and the longest side at which photos are clicked, in pixels.
        growth: the network's width, 32 in the paper.
        imagenet: whether the encoder begins with ImageNet's weights.
    """

    side: int
    growth: int
    imagenet: bool

    def __post_init__(self) -> None:
        if self.side < DIVISOR or self.side % DIVISOR:
            raise OptionError(
                f"Expected the side to be a multiple of {DIVISOR} pixels, which the network takes, got {self.side}. "
                f"Try {max(1, round(self.side / DIVISOR)) * DIVISOR}."
            )

    def network(self, seed: int) -> zoo.BRSDenseNet:
        """The untrained network, without its fine decoder in use; the same for the same seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return zoo.brs_densenet(fine=False, pretrained=self.imagenet, growth=self.growth)


@dataclass(frozen=True)
class Trained:
    """A network after a stage, in evaluation mode, and how the stage went."""

    network: zoo.BRSDenseNet
    progress: Progress

    def figures(self) -> dict[str, Any]:
        """For the file of results."""
        progress = self.progress
        return {
            "steps": progress.step,
            "minutes": round(progress.seconds / 60, 2),
            "loss": round(progress.losses[-1][1], 4),
            "held back, IoU after 3 clicks": round(progress.scores[-1][1], 4),
        }


def train_stages(
    photos: Sequence[LabelledPhoto], settings: Settings, recipe: Recipe, out: Path, device: str, progress: bool = True
) -> dict[str, Trained]:
    """Train the coarse decoder, and from there the network with the fine decoder, each in a folder of its own.

    Args:
        photos: some are held back, evenly spread over the list.
        settings: of the network.
        recipe: of both stages together: steps or minutes are shared as in the paper.
        out: where a training that was interrupted goes on.
        device: where it is trained.
        progress: show progress bars.

    Returns:
        The network after each stage.

    Raises:
        OptionError: fewer than two photos, or the folder holds a training with other photos or settings.
        CheckpointError: it holds one with another recipe, or a damaged one.
        TrainingError: the loss is no longer a finite number.
    """
    held_back = photos[:: max(2, len(photos) // HELD_BACK)][:HELD_BACK]
    kept = set(held_back)
    drawn = [photo for photo in photos if photo not in kept]
    if not drawn:
        raise OptionError(f"Expected 2 photos or more, some of which are held back, got {len(photos)}.")
    network = settings.network(recipe.seed)
    _same_training(out / "settings.json", settings, photos)
    mean, std = network.pretrained_cfg["mean"], network.pretrained_cfg["std"]
    task = ClickTask(
        Drawing(drawn),
        held_back,
        mean,
        std,
        maps=network.click_maps,
        crops=ObjectCrops(settings.side),
        samplers=BRS,
        rounds=0,
        loss_function=cross_entropy,
    )
    groups = groups_of(network, "all", encoder_rate=PRETRAINED_RATE if settings.imagenet else 1.0)
    trained = {}
    for number, (stage, own) in enumerate(_recipes(recipe).items()):
        network.fine = stage == "fine"
        own = replace(own, seed=recipe.seed + number)  # each stage draws other batches
        done = train(network, task, own, out / stage, groups=groups, device=device, progress_bar=progress)
        weights = {name: tensor.contiguous().clone() for name, tensor in network.state_dict().items()}
        write_whole(out / f"{stage}.safetensors", save(weights))
        trained[stage] = Trained(copy.deepcopy(network), done)
    return trained


def _recipes(recipe: Recipe) -> dict[str, Recipe]:
    """A recipe for each stage, whose lengths add up to the whole one's."""
    shares = {stage: epochs / sum(EPOCHS.values()) for stage, epochs in EPOCHS.items()}
    if recipe.minutes is not None:
        return {stage: replace(recipe, minutes=recipe.minutes * share) for stage, share in shares.items()}
    assert recipe.steps is not None
    coarse = max(1, round(recipe.steps * shares["coarse"]))
    return {"coarse": replace(recipe, steps=coarse), "fine": replace(recipe, steps=max(1, recipe.steps - coarse))}


def _same_training(path: Path, settings: Settings, photos: Sequence[LabelledPhoto]) -> None:
    """Write down what a training depends on, or raise OptionError where the folder has another one."""
    names = "\n".join(f"{photo.image.parent.parent.name}/{photo.image.name}" for photo in photos)
    wanted = {
        "side": settings.side,
        "growth": settings.growth,
        "imagenet": settings.imagenet,
        "photos": len(photos),
        "photo names": hashlib.sha256(names.encode()).hexdigest()[:16],
    }
    prepare_folder(path.parent)
    found = json.loads(path.read_text()) if path.exists() else wanted
    if found != wanted:
        differing = ", ".join(
            f"{key} {found.get(key)}, here {wanted[key]}" for key in wanted if found.get(key) != wanted[key]
        )
        raise OptionError(
            f"Expected the training that {path.parent} holds, got another one ({differing}). Try the same options to "
            "go on, or another --out to begin anew."
        )
    write_json(path, wanted)


def measure(
    name: str, network: nn.Module, side: int, photos: Sequence[AnnotatedPhoto], out: Path, clicks: int = 20
) -> Evaluation:
    """The simulated user on every photo, for one row; photos that `out` has already are not clicked again.

    Args:
        name: of the row, a key of `ROWS`.
        network: after the row's stage.
        side: the longest side at which the network sees a photo, in pixels.
        photos: with one object or several.
        out: the folder for the records.
        clicks: the most for each object.

    Raises:
        OptionError: the records in the folder are of another network or other options.
    """
    options = wrap_options(name, side)
    configuration = {
        "row": name,
        "options": options,
        "weights": fingerprint(network)[:16],
        "clicks": clicks,
        "threads": torch.get_num_threads(),
        "interactify": interactify.__version__,
        "torch": torch.__version__,
    }
    file = ResultsFile(prepare_folder(out) / f"{name.replace(' + ', '-with-')}.jsonl", configuration)
    net = interactify.wrap(network, **options)
    user = user_named("centre")
    for photo in tqdm(photos, desc=name):
        if photo.name not in file.done:
            file.add(photo.name, [click_through(net, sample, clicks, user)[0] for sample in photo])
    return Evaluation(tuple(record for photo in photos for record in file.done[photo.name]), clicks)


def wrap_options(name: str, side: int) -> dict[str, Any]:
    """How a row wraps its network: as published, on the whole photo and on the network's own map."""
    options = {"variables": "click_maps", "energy": "brs", "propagation": "none", "zoom": False, "resolution": side}
    return options if ROWS[name].brs else {**options, "max_evaluations": 0}


def table(runs: Mapping[str, Evaluation]) -> str:
    """The rows as a Markdown table, beside the published figures.

    >>> from interactify.evaluation import Record
    >>> run = Evaluation((Record("a", [0.5, 0.95], [True], [3], [0.1], [0.0], [0.4, 0.9], [1]),), 20)
    >>> print(table({"fine": run}))
    | row          | NoC@85 | published | NoC@90 | published | IoU@1 | IoU@5 | ms a click |
    |--------------|-------:|----------:|-------:|----------:|------:|------:|-----------:|
    | fine         |   1.00 |      4.12 |   1.00 |      6.12 | 0.950 | 0.950 |        100 |
    """
    heads = ["NoC@85", "published", "NoC@90", "published", "IoU@1", "IoU@5", "ms a click"]
    wide = max(map(len, ROWS))
    lines = [f"| {'row':{wide}} | {' | '.join(heads)} |"]
    lines += [f"|{'-' * (wide + 2)}|{'|'.join('-' * (len(head) + 1) + ':' for head in heads)}|"]
    for name, run in runs.items():
        at_85, at_90 = ROWS[name].published
        cells = [f"{run.noc(0.85):.2f}", f"{at_85:.2f}", f"{run.noc(0.90):.2f}", f"{at_90:.2f}"]
        cells += [f"{run.iou_after(1):.3f}", f"{run.iou_after(5):.3f}", f"{run.seconds_per_click * 1000:.0f}"]
        padded = " | ".join(f"{cell:>{len(head)}}" for cell, head in zip(cells, heads, strict=True))
        lines.append(f"| {name:{wide}} | {padded} |")
    return "\n".join(lines)


def curves(runs: Mapping[str, Evaluation]) -> str:
    """IoU against clicks as SVG: solid lines with BRS, dashed ones without."""
    lines = []
    for name, run in runs.items():
        row = ROWS[name]
        dashes = "" if row.brs else "6 4"
        lines.append(Line(name, [record.curve for record in run.records], _COLOURS[row.stage], dashes))
    return svg(lines, max(run.clicks for run in runs.values()))


def spread(photos: Sequence[AnnotatedPhoto], count: int | None) -> Sequence[AnnotatedPhoto]:
    """`count` of the photos, evenly spread; all by default."""
    if count is None or count >= len(photos):
        return photos
    if count < 1:
        raise OptionError(f"Expected a number of photos from 1 up, got {count}. Try 10.")
    return [photos[k * len(photos) // count] for k in range(count)]


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Train, measure and write the results; they are returned too."""
    imagenet = given.encoder_weights == "imagenet"
    settings = Settings(given.side, given.growth or (PUBLISHED_GROWTH if imagenet else PUBLISHED_GROWTH // 2), imagenet)
    check_clicks(given.clicks)
    prepare_folder(given.result.parent)  # all that can be wrong is found now, and not after hours
    measured = spread(folder(Path(given.data) / "GrabCut50").photos, given.photos)
    if given.train:
        photos = [photo for each in given.train for photo in photos_in(each)]
    else:
        photos = photos_of_objects(Path(given.data))
    recipe = Recipe(
        steps=given.steps,
        minutes=None if given.steps is not None else given.minutes,
        batch=given.batch,
        learning_rate=given.learning_rate,
        seed=given.seed,
    )
    trained = train_stages(photos, settings, recipe, given.out, given.device)
    runs: dict[str, Evaluation] = {}
    for name, row in ROWS.items():
        network = trained[row.stage].network.to(given.device)
        runs[name] = measure(name, network, settings.side, measured, given.out / "rows", given.clicks)
    found = {
        "machine": machine() | {"device": given.device},
        "settings": json.loads((given.out / "settings.json").read_text())
        | {"batch": recipe.batch, "learning_rate": recipe.learning_rate, "seed": recipe.seed},
        "training": {stage: each.figures() for stage, each in trained.items()},
        "rows": {
            name: {
                "options": wrap_options(name, settings.side),
                "published": dict(zip(("noc_85", "noc_90"), ROWS[name].published, strict=True)),
                "summary": summary(run),
                "records": [recorded(record) for record in run.records],
            }
            for name, run in runs.items()
        },
    }
    write_whole(given.result, (json.dumps(found, indent=1) + "\n").encode())
    write_whole(given.result.with_suffix(".svg"), curves(runs).encode())
    print(table(runs))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    root = os.environ.get("INTERACTIFY_DATA")
    parser.add_argument("--data", type=Path, default=root, required=root is None, help="folder with GrabCut50/")
    parser.add_argument(
        "--train", type=Path, nargs="+", metavar="FOLDER",
        help="folders with images/ and masks/ to train on; by default the photos of the click networks, below --data",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=WORK, help=f"folder for weights and states; by default {WORK}")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=100.0, help="of both stages together (100)")
    length.add_argument("--steps", type=int, help="of both stages together, instead: then a seed decides everything")
    parser.add_argument("--side", type=int, default=256, help="of the squares, and of photos that are clicked (256)")
    parser.add_argument("--growth", type=int, help="the network's width: 16, or 32 as published")
    parser.add_argument(
        "--encoder-weights", choices=("none", "imagenet"), default="none",
        help="imagenet: as published, from timm's hub, with --growth 32",
    )  # fmt: skip
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3, metavar="X")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=int, metavar="N", help="click on N photos, evenly spread; by default on all")
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--device", default=quickest_device(), help="cuda where there is a GPU, else cpu")
    parser.add_argument("--threads", type=int, help="of torch; by default its own choice")
    parser.add_argument("--result", type=Path, default=RESULT, help="the JSON file; curves go beside it")
    given = parser.parse_args(arguments)
    if given.threads:
        torch.set_num_threads(given.threads)
    try:
        run(given)
    except interactify.InteractifyError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
