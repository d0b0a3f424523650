"""train_for_clicks(model, photos): a network that follows clicks, from any segmentation network and photos with masks.

It begins as the network it was, since the kernels for its interaction maps are zero; training moves these first.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from interactify.adapters import knowledge_of
from interactify.errors import OptionError
from interactify.export.files import prepare_folder
from interactify.inspection.click_input import ClickMaps
from interactify.inspection.probe import probe
from interactify.inspection.replica import unwrapped
from interactify.inspection.spec import Knowledge, ModelSpec
from interactify.learning.click_files import save_click_network
from interactify.learning.click_sampling import ClickSampler, FirstClick, SpreadClicks
from interactify.learning.click_task import ClickTask
from interactify.learning.labelled_photos import Drawing, LabelledPhoto, photos_in
from interactify.learning.logits import LogOdds
from interactify.learning.loop import Recipe, train
from interactify.learning.losses import LOSSES, Loss
from interactify.learning.low_rank import low_rank_deltas
from interactify.learning.object_crops import ObjectCrops
from interactify.learning.parts import PARTS, Part, groups_of
from interactify.stem import ReconfiguredStem, reconfigure_stem

USUAL_SIDE = 320  # where the network states no resolution
MEASURED_CLICKS = 5

RITM: tuple[tuple[ClickSampler, float], ...] = ((FirstClick(), 0.6), (SpreadClicks(), 0.4))
BRS: tuple[tuple[ClickSampler, float], ...] = ((SpreadClicks(), 1.0),)


@dataclass(frozen=True, eq=False)
class ClickTraining:
    """What a click training gave.

    Attributes:
        network: it follows clicks: `interactify.wrap(network)`. In evaluation mode.
        before, after: mean IoU on the photos that were held back, after 0, 1, … clicks, without refinement.
        steps, seconds: how long it took.
        folder: where the network lies (`learning.click_files.load_click_network` reads it).
    """

    network: ReconfiguredStem
    before: tuple[float, ...]
    after: tuple[float, ...]
    steps: int
    seconds: float
    folder: Path

    def __str__(self) -> str:
        def row(name: str, values: Sequence[float]) -> str:
            return f"{name:8}" + "".join(f"{value:8.3f}" for value in values)

        heads = "clicks  " + "".join(f"{k:8d}" for k in range(len(self.before)))
        took = f"{self.steps} steps in {self.seconds / 60:.1f} minutes; the network is in {self.folder}"
        return "\n".join([heads, row("before", self.before), row("after", self.after), took])


def train_for_clicks(
    model: nn.Module,
    photos: str | os.PathLike[str] | Sequence[LabelledPhoto],
    out: str | os.PathLike[str],
    *,
    maps: ClickMaps | None = None,
    parts: Part = "all",
    method: str = "ritm",
    recipe: Recipe | None = None,
    target: int | None = None,
    side: int | None = None,
    loss: str | Loss | None = None,
    held_back: float | Sequence[LabelledPhoto] = 0.1,
    built_from: str | None = None,
    device: str | None = None,
    progress: bool = True,
) -> ClickTraining:
    """Train any segmentation network so that it follows clicks.

    Args:
        model: a network of image batches (N, C, H, W), or a `ReconfiguredStem` that was trained for clicks before. It
            is copied, and never changed.
        photos: a folder with `images/` and `masks/` (PNG: 0 background, 1 to 254 an object each, 255 unknown; or 0 and
            255 for one object), or a list of `LabelledPhoto`.
        out: the folder for the trained network, the state from which an interrupted training goes on, and curves.
        maps: how clicks are drawn; by default disks of 5 pixels and the mask before ("ritm"), or distances ("brs").
        parts: which weights move: "stem" (the new kernels alone, so that without clicks the network stays exactly as it
            is), "stem+decoder", "low-rank" or "all".
        method: "ritm", clicks on current errors, one after the other; "brs", many clicks at once.
        recipe: the settings; by default 60 minutes.
        target: the class that is trained, for a network of more than two.
        side: of the squares that it sees, in pixels; by default what the network states, up to 320.
        loss: a name of `learning.LOSSES` or a function; by default "normalised-focal" for "ritm", "bce" for "brs".
        held_back: the share of photos on which it is measured, or these photos themselves.
        built_from: how the network inside is built, as for `--model` on the command line, to be kept with the weights.
        device: by default CUDA where there is one.
        progress: show a progress bar.

    Returns:
        A `ClickTraining`: the network, and its figures before and after.

    Raises:
        ModelError: the network can't be run, or no convolution reads the image.
        OptionError: wrong options, too few photos, or a folder that can't be written to; before any work.
        CheckpointError: the state in the folder is damaged, or of another training.
        TrainingError: the loss is no longer a finite number.

    Sources: Jang & Kim, CVPR 2019, section 3.1; Sofiiuk et al., "Reviving Iterative Training with Mask Guidance for
    Interactive Segmentation", 2021.
    """
    if method not in ("ritm", "brs"):
        raise OptionError(f"Expected method to be ritm or brs, got {method!r}.")
    if parts not in PARTS:
        raise OptionError(f"Expected parts to be one of {', '.join(PARTS)}, got {parts!r}.")
    network = _click_network(model, maps or (_RITM_MAPS if method == "ritm" else ClickMaps("distance")))
    click_maps = network.click_maps
    assert click_maps is not None
    known = knowledge_of(unwrapped(network.model))
    spec = probe(network.model, known, Knowledge())
    trained, kept = _split(photos, held_back)
    task = ClickTask(
        Drawing(trained),
        kept,
        spec.mean,
        spec.std,
        maps=click_maps,
        crops=ObjectCrops(_side(spec, side)),
        samplers=RITM if method == "ritm" else BRS,
        rounds=3 if method == "ritm" else 0,
        loss_function=_loss(loss or ("normalised-focal" if method == "ritm" else "bce")),
        read=_reading(LogOdds.of(spec, target), known),
        bgr=spec.bgr,
    )
    recipe = recipe or Recipe(minutes=60.0, learning_rate=5e-4)
    prepare_folder(out)
    before = task.ious(network.eval(), MEASURED_CLICKS).mean(0)
    with low_rank_deltas(network, seed=recipe.seed) if parts == "low-rank" else nullcontext():
        done = train(
            network,
            task,
            recipe,
            out,
            groups=groups_of(network, parts),
            device=device,
            progress_bar=progress,
        )
    after = task.ious(network, MEASURED_CLICKS).mean(0)
    folder = save_click_network(network, out, model=built_from)
    return ClickTraining(network, _floats(before), _floats(after), done.step, done.seconds, folder)


def _reading(log_odds: LogOdds, known: Knowledge) -> Callable[[Callable[[Tensor], Any], Tensor], Tensor]:
    """Reads log-odds of a click network whose inside may have to be run in a way of its own."""
    inner = known.forward
    if inner is None:
        return log_odds

    def read(network: Callable[[Tensor], Any], x: Tensor) -> Tensor:
        assert isinstance(network, ReconfiguredStem)
        return log_odds(lambda both: network.run(lambda image: inner(network.model, image), both), x)

    return read


_RITM_MAPS = ClickMaps("disk", radius=5, previous_mask=True)


def _floats(values: np.ndarray) -> tuple[float, ...]:
    return tuple(map(float, values))


def _click_network(model: nn.Module, maps: ClickMaps) -> ReconfiguredStem:
    """An independent click network: of the model, or another one like it if it is one already."""
    inside = model if isinstance(model, ReconfiguredStem) else None
    if inside is None:
        return reconfigure_stem(model, click_maps=maps)
    network = reconfigure_stem(inside.model, click_maps=inside.click_maps or maps)
    with torch.no_grad():
        for own, theirs in zip(network.kernels, inside.kernels, strict=True):
            own.copy_(theirs)
    return network


def _split(
    photos: str | os.PathLike[str] | Sequence[LabelledPhoto], held_back: float | Sequence[LabelledPhoto]
) -> tuple[list[LabelledPhoto], list[LabelledPhoto]]:
    """The photos that are trained on, and those that are held back."""
    found = photos_in(photos) if isinstance(photos, (str, os.PathLike)) else list(photos)
    if not isinstance(held_back, (int, float)):
        return found, list(held_back)
    if isinstance(held_back, bool) or not 0 < held_back < 1:
        raise OptionError(f"Expected held_back to be a share between 0 and 1, or photos, got {held_back!r}.")
    count = math.ceil(held_back * len(found))
    if len(found) - count < 1:
        raise OptionError(f"Expected 2 photos or more, some of which are held back, got {len(found)}. Try more photos.")
    order = np.random.default_rng(0).permutation(len(found))
    return [found[k] for k in sorted(order[count:])], [found[k] for k in sorted(order[:count])]


def _side(spec: ModelSpec, side: int | None) -> int:
    """The side of the squares: a multiple of what the network needs."""
    if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 1):
        raise OptionError(f"Expected side to be a whole number of pixels, got {side!r}.")
    if spec.exact is not None:
        return spec.exact[0]
    wanted = side or min(USUAL_SIDE, spec.resolution or USUAL_SIDE)
    return max(spec.divisor, round(wanted / spec.divisor) * spec.divisor)


def _loss(loss: str | Loss) -> Loss:
    if not isinstance(loss, str):
        return loss
    if loss not in LOSSES:
        raise OptionError(f"Expected loss to be one of {', '.join(LOSSES)}, got {loss!r}.")
    found: Callable[..., torch.Tensor] = LOSSES[loss]
    return found
