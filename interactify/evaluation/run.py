"""evaluate(net, dataset): the simulated user clicks through a data set, and everything of note is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from interactify.errors import OptionError
from interactify.evaluation.metrics import iou, number_of_clicks
from interactify.evaluation.simulated_user import next_click

if TYPE_CHECKING:
    from interactify.wrap import Interactive


@dataclass(frozen=True)
class Sample:
    """A photo and its true mask: (H, W) int8 with 1 object, 0 background, -1 unknown."""

    name: str
    photo: Path | NDArray[np.uint8]
    truth: NDArray[np.int8]


@dataclass(frozen=True)
class Record:
    """What happened on one photo: `curve[k]` is the IoU after k clicks, the other lists have an entry a click."""

    name: str
    curve: list[float]
    satisfied: list[bool] = field(default_factory=list)
    evaluations: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Evaluation:
    """Records of a run, and the figures papers give."""

    records: tuple[Record, ...]
    clicks: int

    def iou_after(self, clicks: int) -> float:
        """Mean IoU after that many clicks; a photo that was perfect before keeps its IoU."""
        return float(np.mean([r.curve[min(clicks, len(r.curve) - 1)] for r in self.records]))

    def noc(self, threshold: float) -> float:
        """NoC@threshold, with `clicks` for each failure."""
        return number_of_clicks([r.curve for r in self.records], threshold, self.clicks)

    @property
    def satisfied(self) -> float:
        """Share of clicks after which every click had its label."""
        return float(np.mean([s for r in self.records for s in r.satisfied] or [True]))

    @property
    def evaluations_per_click(self) -> float:
        """Mean number of network evaluations for a click."""
        return float(np.mean([e for r in self.records for e in r.evaluations] or [0]))

    @property
    def seconds_per_click(self) -> float:
        """Median wall time of a click, the simulated user and reading the photo not counted."""
        return float(np.median([s for r in self.records for s in r.seconds] or [0.0]))

    def __str__(self) -> str:
        steps = [k for k in (0, 1, 2, 3, 5, 10, 20) if k <= self.clicks]
        curve = "  ".join(f"@{k} {self.iou_after(k):.3f}" for k in steps)
        return (
            f"{len(self.records)} photos, at most {self.clicks} clicks\n"
            f"IoU after k clicks  {curve}\n"
            f"NoC@85 {self.noc(0.85):.2f}  NoC@90 {self.noc(0.90):.2f}\n"
            f"clicks satisfied {self.satisfied:.2%}, {self.evaluations_per_click:.1f} evaluations and "
            f"{self.seconds_per_click * 1000:.0f} ms a click"
        )


def folder(root: str | Path) -> Iterator[Sample]:
    """Photos in `root`/images with masks of the same stem in `root`/masks: 0 background, 255 object, 128 unknown.

    Raises:
        OptionError: where there are no such folders, or a photo without a mask.
    """
    root = Path(root)
    photos = sorted(p for p in (root / "images").glob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png", ".bmp"))
    if not photos:
        raise OptionError(f"Expected photos in {root / 'images'} and masks in {root / 'masks'}; found none.")
    for photo in photos:
        mask = root / "masks" / f"{photo.stem}.png"
        if not mask.exists():
            raise OptionError(f"{photo} has no mask {mask}.")
        values = np.array(Image.open(mask).convert("L"))
        truth = np.zeros(values.shape, np.int8)
        truth[values == 255] = 1
        truth[values == 128] = -1
        yield Sample(photo.stem, photo, truth)


def evaluate(net: Interactive, dataset: Iterable[Sample], *, clicks: int = 20, progress: bool = True) -> Evaluation:
    """Let the simulated user click on every photo.

    Args:
        net: a wrapped network.
        dataset: samples, such as `interactify.evaluation.folder(root)` gives.
        clicks: how many at most for each photo.
        progress: show a bar.

    Returns:
        Its `str` is a summary; `.records` hold every click.
    """
    records = []
    for sample in tqdm(list(dataset), desc="photos", disable=not progress):
        session = net.session(sample.photo)
        clicked = np.zeros(sample.truth.shape, bool)
        record = Record(sample.name, [iou(sample.truth, session.result.mask)])
        for _ in range(clicks):
            click = next_click(sample.truth, session.result.mask, clicked)
            if click is None:
                break
            clicked[int(click.y), int(click.x)] = True
            result = session.click(click.x, click.y, click.positive)
            record.curve.append(iou(sample.truth, result.mask))
            record.satisfied.append(result.satisfied)
            record.evaluations.append(result.evaluations)
            record.seconds.append(result.seconds)
        records.append(record)
    return Evaluation(tuple(records), clicks)
