"""Small U-Nets trained on pictures that are drawn on the spot, with exact masks: no data to fetch, none seen twice.

A `Drawer` draws a picture and its mask. `train_drawn` trains a network on an endless row of them, scores it on a few
that no training draws, and goes on after an interruption.
"""

from __future__ import annotations

import argparse
import io
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.speed_measure import machine
from benchmarks.trained_weights import trained
from interactify.evaluation import Sample, iou
from interactify.export.files import write_json, write_whole
from interactify.learning import Recipe, cross_entropy_and_iou, groups_of, train
from interactify.learning.augment import recoloured
from interactify.learning.masks_task import Batch, normalised

MEAN, STD = (0.5,) * 3, (0.25,) * 3
SCORED = 16  # pictures
_TRAINED, _TESTED = 0, 1  # the first number of a picture's seed

Picture = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""A picture (H, W, 3) and the mask of its object (H, W)."""
Drawer = Callable[[np.random.Generator], Picture]


class SmallUNet(nn.Module):
    """A plain U-Net (Ronneberger et al., 2015): (N, 3, H, W) to logits (N, 1, H, W), H and W divisible by 8.

    Args:
        norm: from a number of channels to a norm.
        widths: channels of the levels, from the finest.
    """

    def __init__(self, norm: Callable[[int], nn.Module], widths: Sequence[int] = (16, 32, 64, 128)) -> None:
        super().__init__()

        def block(inside: int, out: int) -> nn.Sequential:
            layers: list[nn.Module] = []
            for channels in (inside, out):
                layers += [nn.Conv2d(channels, out, 3, padding=1, bias=False), norm(out), nn.LeakyReLU(0.1)]
            return nn.Sequential(*layers)

        self.down = nn.ModuleList(block(a, b) for a, b in zip((3, *widths[:-1]), widths, strict=True))
        fine, coarse = widths[-2::-1], widths[:0:-1]
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(a, b, 2, stride=2) for a, b in zip(coarse, fine, strict=True))
        self.up = nn.ModuleList(block(2 * width, width) for width in fine)
        self.head = nn.Conv2d(widths[0], 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(F.max_pool2d(x, 2) if level else x)
            skips.append(x)
        skips.pop()
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            x = block(torch.cat([enlarge(x), skips.pop()], 1))
        logits: Tensor = self.head(x)
        return logits


@dataclass(frozen=True)
class DrawnTask:
    """A `Task` of `interactify.learning`: batches are drawn, and no two are the same.

    Attributes:
        drawer: of the pictures that are trained on.
        test: what networks are scored on.
        colours: how strongly pictures are recoloured, 0 to 1.
    """

    drawer: Drawer
    test: Sequence[Sample]
    colours: float = 0.5

    def draw(self, generator: torch.Generator, count: int, done: float) -> Batch:
        """Normalised images (count, 3, H, W) and masks (count, 1, H, W) of 0 and 1."""
        seeds = torch.randint(2**62, (count,), generator=generator).tolist()
        drawn = [self.drawer(np.random.default_rng([_TRAINED, seed])) for seed in seeds]
        image = torch.from_numpy(np.stack([picture for picture, _ in drawn])).permute(0, 3, 1, 2).float() / 255
        mask = torch.from_numpy(np.stack([mask for _, mask in drawn]))[:, None].float()
        return normalised(recoloured(image, generator, self.colours), MEAN, STD), mask

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """Cross-entropy and soft IoU."""
        image, mask = batch
        return cross_entropy_and_iou(network(image).float(), mask)

    def score(self, network: nn.Module) -> float:
        """Mean IoU on the test pictures."""
        return drawn_iou(network, self.test)


def drawn_samples(name: str, drawer: Drawer, count: int) -> list[Sample]:
    """Pictures for measuring, called 00, 01, …: always the same ones for a name, and no training draws them."""
    found = []
    for index in range(count):
        picture, mask = drawer(np.random.default_rng([_TESTED, zlib.crc32(name.encode()), index]))
        found.append(Sample(f"{index:02d}", picture, mask.astype(np.int8)))
    return found


@torch.no_grad()
def drawn_iou(network: nn.Module, samples: Sequence[Sample]) -> float:
    """Mean IoU of a network's own masks on drawn pictures, at their own size."""
    device, ious = next(network.parameters()).device, []
    for sample in samples:
        assert isinstance(sample.photo, np.ndarray)
        image = torch.from_numpy(sample.photo).permute(2, 0, 1)[None].float() / 255
        logits = network(normalised(image, MEAN, STD).to(device)).float()
        ious.append(iou(sample.truth, logits[0, 0].cpu().numpy() > 0))
    return float(np.mean(ious))


@dataclass(frozen=True)
class DrawnNetwork:
    """A network and the pictures it is for.

    Attributes:
        name: of its files: NAME.pt with the weights, NAME.json with what it reaches.
        build: with random weights.
        drawers: by the name of a photo set; the first one is trained on, the others are other than it knows.
        recipe: of the training.
        module: that is run to train it.
    """

    name: str
    build: Callable[[], nn.Module]
    drawers: dict[str, Drawer]
    recipe: Recipe
    module: str

    def load(self, folder: Path) -> nn.Module:
        """The trained network, in evaluation mode.

        Raises:
            CheckpointError: it is not trained yet, or the file has another network's weights.
        """
        return trained(self.build, folder / f"{self.name}.pt", f"{self.module} {folder}", self.recipe.minutes)


def train_drawn(drawn: DrawnNetwork, folder: Path, recipe: Recipe) -> dict[str, object]:
    """Train into FOLDER/NAME.pt and NAME.json; goes on with a training whose state is in FOLDER/NAME/."""
    torch.manual_seed(recipe.seed)
    network = drawn.build()
    tests = {name: drawn_samples(name, drawer, SCORED) for name, drawer in drawn.drawers.items()}
    known = next(iter(drawn.drawers))
    task = DrawnTask(drawn.drawers[known], tests[known])
    progress = train(network, task, recipe, folder / drawn.name, groups=groups_of(network, "all"))
    content = io.BytesIO()
    torch.save({name: tensor.contiguous() for name, tensor in network.state_dict().items()}, content)
    write_whole(folder / f"{drawn.name}.pt", content.getvalue())
    results = {
        "iou": {name: round(drawn_iou(network, samples), 4) for name, samples in tests.items()},
        "steps": progress.step,
        "minutes": round(progress.seconds / 60, 1),
        "recipe": asdict(recipe),
        "machine": machine(),
    }
    write_json(folder / f"{drawn.name}.json", results)
    return results


def main(drawn: DrawnNetwork, description: str | None) -> None:
    """Read the command line and train; the same command goes on with an interrupted training."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {drawn.module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help=f"for {drawn.name}.pt, and for the state of the training")
    parser.add_argument("--minutes", type=float, default=drawn.recipe.minutes, help="how long; %(default)s by default")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    recipe = Recipe(**{**asdict(drawn.recipe), "minutes": given.minutes})
    print(json.dumps(train_drawn(drawn, given.folder, recipe), indent=2))
