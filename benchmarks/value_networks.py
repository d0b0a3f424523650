"""Two small networks of numbers, trained on the spot: mattes of composites, and depth in metres of rendered scenes.

Their pictures are drawn (benchmarks/drawn_mattes.py, drawn_depth.py); those that are measured are never trained on. A
training is seeded and of a given number of steps, so that it is the same each time, and goes on where it was
interrupted.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmarks.drawn_depth import rooms, shifted
from benchmarks.drawn_mattes import Mattes, cut_outs
from benchmarks.drawn_training import MEAN, STD, SmallUNet
from benchmarks.trained_weights import trained
from interactify.export.files import write_whole
from interactify.learning import Recipe, groups_of, train
from interactify.learning.augment import recoloured
from interactify.learning.masks_task import Batch, normalised

WIDTHS: Final = (8, 16, 32, 64)
POOL: Final = 240  # pictures that are drawn for a training, and then mirrored and recoloured
SCORED: Final = 8
_TRAINED, _MEASURED = 0, 1  # the first number of a picture's seed

Drawer = Callable[[np.random.Generator], tuple[NDArray[np.uint8], NDArray[np.float32]]]


@dataclass(frozen=True)
class Scene:
    """A picture (H, W, 3) uint8 and its true numbers (H, W) float32."""

    name: str
    picture: NDArray[np.uint8]
    truth: NDArray[np.float32]


class MatteNetwork(SmallUNet):
    """(N, 3, H, W) to opacities (N, 1, H, W) in [0, 1]."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm2d, WIDTHS)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(super().forward(x))


class DepthNetwork(SmallUNet):
    """(N, 3, H, W) to depths (N, 1, H, W) in metres, above 0."""

    def __init__(self) -> None:
        super().__init__(nn.BatchNorm2d, WIDTHS)

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(2 + super().forward(x))


@dataclass(frozen=True)
class ValueTask:
    """A `Task` of `interactify.learning`: absolute error, of depths relative to the truth.

    Attributes:
        pool: pictures that batches are taken from.
        held_back: pictures that networks are scored on.
        relative: whether errors are of the logarithm.
    """

    pool: list[Scene]
    held_back: list[Scene]
    relative: bool

    def draw(self, generator: torch.Generator, count: int, done: float) -> Batch:
        """Normalised images (count, 3, H, W) and numbers (count, 1, H, W)."""
        taken = [self.pool[at] for at in torch.randint(len(self.pool), (count,), generator=generator).tolist()]
        image, truth = (torch.cat(each) for each in zip(*map(_tensors, taken), strict=True))
        mirrored = (torch.rand(count, generator=generator) < 0.5)[:, None, None, None]
        image, truth = (torch.where(mirrored, each.flip(3), each) for each in (image, truth))
        return normalised(recoloured(image, generator, 0.5), MEAN, STD), truth

    def loss(self, network: nn.Module, batch: Batch) -> Tensor:
        """The mean error; of opacities with cross-entropy, since absolute errors alone draw most of them to 0."""
        found, truth = network(batch[0]).float(), batch[1]
        if self.relative:
            return (found.log() - truth.log()).abs().mean()
        return (found - truth).abs().mean() + F.binary_cross_entropy(found, truth)

    @torch.no_grad()
    def score(self, network: nn.Module) -> float:
        """Minus the mean error on the pictures that are held back."""
        images, truths = (torch.cat(each) for each in zip(*map(_tensors, self.held_back), strict=True))
        return -float(self.loss(network, (normalised(images, MEAN, STD), truths)))


@dataclass(frozen=True)
class DrawnValues:
    """A network of numbers, and what it is for.

    Attributes:
        name: of its files.
        build: with random weights.
        drawers: from the folder of photos, or None, to what draws each set; the first is trained on.
        recipe: of the training.
        tolerance: that clicks are measured with, in the network's units.
    """

    name: str
    build: Callable[[], nn.Module]
    drawers: Callable[[Path | None, bool], Mapping[str, Drawer]]
    recipe: Recipe
    tolerance: float

    def scenes(self, data: Path | None, count: int) -> dict[str, list[Scene]]:
        """Pictures for measuring, `count` of each set: always the same ones, and no training draws them."""
        return {
            name: [_scene(name, drawer, _MEASURED, index) for index in range(count)]
            for name, drawer in self.drawers(data, True).items()
        }

    def train(self, folder: Path, data: Path | None) -> None:
        """Train into FOLDER/NAME.pt; goes on with a training whose state is in FOLDER/NAME/."""
        torch.manual_seed(self.recipe.seed)
        name, drawer = next(iter(self.drawers(data, False).items()))
        pool = [_scene(name, drawer, _TRAINED, index) for index in range(POOL + SCORED)]
        network = self.build()
        task = ValueTask(pool[:POOL], pool[POOL:], self.name == "depth")
        train(network, task, self.recipe, folder / self.name, groups=groups_of(network, "all"))
        content = io.BytesIO()
        torch.save({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, content)
        write_whole(folder / f"{self.name}.pt", content.getvalue())

    def load(self, folder: Path) -> nn.Module:
        """The trained network, in evaluation mode. Raises CheckpointError where it is not trained yet."""
        return trained(self.build, folder / f"{self.name}.pt", f"benchmarks.values {self.name} {folder} --only train")


def _mattes(data: Path | None, measured: bool) -> dict[str, Drawer]:
    """Drawn shapes (in training mixed with cut-outs where there are photos), shapes before others, and cut-outs."""
    if not measured:
        return {"drawn": Mattes(cut_outs(data, measured=False) if data else ())}
    found: dict[str, Drawer] = {"drawn": Mattes(), "behind": Mattes(behind=True)}
    if data:
        found["cut-outs"] = Mattes(cut_outs(data, measured=True), share=1.0)
    return found


NETWORKS: Final = {
    "matting": DrawnValues(
        "matting", MatteNetwork, _mattes, Recipe(steps=800, batch=8, learning_rate=4e-3, average=0.99), 0.02
    ),
    "depth": DrawnValues(
        "depth",
        DepthNetwork,
        lambda data, measured: {"rooms": rooms, "shifted": shifted},
        Recipe(steps=800, batch=8, learning_rate=4e-3, average=0.99),
        0.25,
    ),
}


def _scene(name: str, drawer: Drawer, first: int, index: int) -> Scene:
    picture, truth = drawer(np.random.default_rng([first, zlib.crc32(name.encode()), index]))
    return Scene(f"{name}-{index:02d}", picture, truth)


def _tensors(scene: Scene) -> tuple[Tensor, Tensor]:
    """(1, 3, H, W) in [0, 1], and (1, 1, H, W)."""
    return (
        torch.from_numpy(scene.picture).permute(2, 0, 1)[None].float() / 255,
        torch.from_numpy(scene.truth)[None, None],
    )
