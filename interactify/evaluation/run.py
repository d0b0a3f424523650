"""evaluate(net, dataset): a simulated user clicks through a data set, and every click is recorded."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
from tqdm import tqdm

from interactify.errors import OptionError
from interactify.evaluation.data.dataset import Dataset, Mask, Sample
from interactify.evaluation.metrics import boundary_iou, collateral_change, iou
from interactify.evaluation.records import Evaluation, Record, VolumeRecord
from interactify.evaluation.simulated_user import SimulatedUser, user_named
from interactify.evaluation.surface import surface_distance
from interactify.interactions.click import Click
from interactify.interactions.next_click import index_of
from interactify.interactive import Interactive


def evaluate(
    net: Interactive,
    dataset: Iterable[Sample],
    *,
    clicks: int = 20,
    user: str | SimulatedUser = "centre",
    until: float | None = None,
    progress: bool = True,
) -> Evaluation:
    """Let a simulated user click on every photo, or in every volume.

    Args:
        net: a wrapped network; of volumes, where the samples are volumes.
        dataset: samples, such as those of `interactify.evaluation.folder(root)`.
        clicks: the most clicks for each object.
        user: who clicks: "centre", the user of the literature; "jitter", who misses the centre; "pairs", who clicks
            twice before each prediction; or a user with options: `Jitter(spread=1, seed=3)`, `Strokes(folder)`.
        until: an IoU, above 0 up to 1, at which the user is content with an object and clicks no more, but for the
            first click, which NoC always counts. NoC up to there is that of a whole run, in a part of the time; figures
            after a number of clicks are of shorter curves, which go on at their last value. By default the user clicks
            as long as anything is wrong.
        progress: show a progress bar.

    Returns:
        The records of every click; its `str` is a summary.

    Raises:
        OptionError: an unknown user, an invalid number of clicks or an IoU out of range, before any work; a truth of
            another size than its photo.
        PhotoError: a photo can't be read.

    >>> truth = np.zeros((60, 80), np.int8); truth[20:40, 20:60] = 1
    >>> sample = interactify.evaluation.Sample("grey", np.full((60, 80, 3), 90, np.uint8), truth)
    >>> run = evaluate(interactify.wrap(interactify.zoo.load()), [sample], clicks=2, progress=False)
    >>> len(run.records[0].curve), run.satisfied
    (3, 1.0)
    """
    check_clicks(clicks)
    check_until(until)
    user = user_named(user)
    photos: Iterable[Iterable[Sample]] = dataset.photos if isinstance(dataset, Dataset) else [[s] for s in dataset]
    records = []
    for photo in tqdm(photos, desc="photos", disable=not progress):
        records += [click_through(net, sample, clicks, user, until)[0] for sample in photo]
    return Evaluation(tuple(records), clicks)


def click_through(
    net: Interactive, sample: Sample, clicks: int, user: SimulatedUser, until: float | None = None
) -> tuple[Record, Mask]:
    """One object, from the network's own prediction to the last click: the record, and the final mask (H, W)."""
    session = net.session(sample.photo) if sample.target is None else net.session(sample.photo, target=sample.target)
    truth, mask = sample.truth, session.result.mask
    if truth.shape != mask.shape and mask.ndim == 3:
        raise OptionError(
            f"Expected a truth of the volume's size for {sample.name}, {mask.shape}; got {truth.shape}. Try the mask "
            "that belongs to this volume."
        )
    if truth.shape != mask.shape:
        raise OptionError(
            f"Expected a truth of the photo's size for {sample.name}, {mask.shape[1]} wide and {mask.shape[0]} high; "
            f"got one {truth.shape[1]} wide and {truth.shape[0]} high. Try the mask that belongs to this photo."
        )
    clicked = np.zeros(truth.shape, bool)
    record = (VolumeRecord if mask.ndim == 3 else Record)(
        sample.name, [iou(truth, mask)], boundary=[boundary_iou(truth, mask)]
    )
    if isinstance(record, VolumeRecord):
        record.surface.append(_surface(sample, mask))
    goal = math.inf if until is None else until
    while (left := clicks - len(record.clicks)) > 0 and not (record.clicks and record.curve[-1] >= goal):
        gestures = user.turn(sample, mask, clicked, left)
        if not gestures:
            break
        new = [click for gesture in gestures for click in gesture]
        clicked[index_of(new)] = True
        result = session.add(new)
        before, mask = mask, result.mask
        unanswered = len(gestures) - 1  # gestures before the last one: the user still sees the previous mask
        record.curve.extend([record.curve[-1]] * unanswered + [iou(truth, mask)])
        record.boundary.extend([record.boundary[-1]] * unanswered + [boundary_iou(truth, mask)])
        if isinstance(record, VolumeRecord):
            record.surface.extend([record.surface[-1]] * unanswered + [_surface(sample, mask)])
        record.clicks.extend([_listed(c) for c in gesture] for gesture in gestures)
        record.predictions.append(len(gestures))
        record.satisfied.append(result.satisfied)
        record.evaluations.append(result.evaluations)
        record.seconds.append(result.seconds)
        record.collateral.append(collateral_change(truth, before, mask, new))
    return record, mask


def _listed(click: Click) -> list[Any]:
    """[x, y, positive] of a click, [x, y, z, positive] of one in a volume."""
    return [*(index[0] for index in reversed(index_of([click]))), click.positive]


def _surface(sample: Sample, mask: Mask) -> list[float | None]:
    """[mean, 95th percentile] of the surface distance; None for what is infinite, which JSON has no word for."""
    found = surface_distance(sample.truth, mask, sample.spacing)
    return [each if math.isfinite(each) else None for each in (found.mean, found.hausdorff95)]


def check_until(until: float | None) -> None:
    """Raise OptionError for what is no IoU to stop at."""
    if until is not None and (isinstance(until, bool) or not isinstance(until, Real) or not 0 < until <= 1):
        raise OptionError(f"Expected an IoU above 0, up to 1, for until, got {until!r}. Try 0.9.")


def check_clicks(clicks: int) -> None:
    """Raise OptionError for an invalid number of clicks."""
    if not isinstance(clicks, int) or isinstance(clicks, bool) or clicks < 0:
        raise OptionError(f"Expected a number of clicks from 0 up, got {clicks!r}. Try 20.")
