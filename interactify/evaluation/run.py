"""evaluate(net, dataset): the simulated user clicks through a data set, and everything of note is kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import Dataset, Mask, Sample
from interactify.evaluation.metrics import boundary_iou, collateral_change, iou
from interactify.evaluation.records import Evaluation, Record
from interactify.evaluation.simulated_user import SimulatedUser, user_named

if TYPE_CHECKING:
    from interactify.interactive import Interactive


def evaluate(
    net: Interactive,
    dataset: Iterable[Sample],
    *,
    clicks: int = 20,
    user: str | SimulatedUser = "centre",
    progress: bool = True,
) -> Evaluation:
    """Let a simulated user click on every photo.

    Args:
        net: a wrapped network.
        dataset: samples, such as `interactify.evaluation.folder(root)` gives.
        clicks: how many at most for each object.
        user: who clicks: "centre", the user of the literature; "jitter", who misses the centre; "pairs", who clicks
            twice before each prediction; or one with options, such as `Jitter(spread=1, seed=3)` or `Strokes(folder)`.
        progress: show a bar.

    Returns:
        Its `str` is a summary; `.records` hold every click.

    Raises:
        OptionError: a user or a number of clicks that is none, before any work; a truth of another size than its photo.
        PhotoError: a photo that can't be read.

    >>> truth = np.zeros((60, 80), np.int8); truth[20:40, 20:60] = 1
    >>> sample = interactify.evaluation.Sample("grey", np.full((60, 80, 3), 90, np.uint8), truth)
    >>> run = evaluate(interactify.wrap(interactify.zoo.load()), [sample], clicks=2, progress=False)
    >>> len(run.records[0].curve), run.satisfied
    (3, 1.0)
    """
    check_clicks(clicks)
    user = user_named(user)
    photos: Iterable[Iterable[Sample]] = dataset.photos if isinstance(dataset, Dataset) else [[s] for s in dataset]
    records = []
    for photo in tqdm(photos, desc="photos", disable=not progress):
        records += [click_through(net, sample, clicks, user)[0] for sample in photo]
    return Evaluation(tuple(records), clicks)


def click_through(net: Interactive, sample: Sample, clicks: int, user: SimulatedUser) -> tuple[Record, Mask]:
    """One object, from the network's own prediction to the last click: the record, and the final mask (H, W)."""
    session = net.session(sample.photo) if sample.target is None else net.session(sample.photo, target=sample.target)
    truth, mask = sample.truth, session.result.mask
    if truth.shape != mask.shape:
        raise OptionError(
            f"The truth of {sample.name} is {truth.shape[1]} wide and {truth.shape[0]} high, its photo {mask.shape[1]} "
            f"and {mask.shape[0]}. They have to have one size."
        )
    clicked = np.zeros(truth.shape, bool)
    record = Record(sample.name, [iou(truth, mask)], boundary=[boundary_iou(truth, mask)])
    while (left := clicks - len(record.clicks)) > 0:
        gestures = user.turn(sample, mask, clicked, left)
        if not gestures:
            break
        said = [click for gesture in gestures for click in gesture]
        clicked[[int(c.y) for c in said], [int(c.x) for c in said]] = True
        result = session.click(said[0].x, said[0].y, said[0].positive) if len(said) == 1 else session.add(said)
        before, mask = mask, result.mask
        waiting = len(gestures) - 1  # while they are given, the person sees the mask of before
        record.curve.extend([record.curve[-1]] * waiting + [iou(truth, mask)])
        record.boundary.extend([record.boundary[-1]] * waiting + [boundary_iou(truth, mask)])
        record.clicks.extend([[int(c.x), int(c.y), c.positive] for c in gesture] for gesture in gestures)
        record.predictions.append(len(gestures))
        record.satisfied.append(result.satisfied)
        record.evaluations.append(result.evaluations)
        record.seconds.append(result.seconds)
        record.collateral.append(collateral_change(truth, before, mask, said))
    return record, mask


def check_clicks(clicks: int) -> None:
    """Raise OptionError for a number of clicks that is none."""
    if not isinstance(clicks, int) or isinstance(clicks, bool) or clicks < 0:
        raise OptionError(f"Expected a number of clicks from 0 up, got {clicks!r}.")
