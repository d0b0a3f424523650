"""Which normalisation, size and fit a network was trained with, judged by its own predictions on a few photos.

Nobody marks objects for this. With the right input, a network predicts the same in the whole photo, in a part of it and
in a mirrored part; and the maps inside have the means and deviations that its batch norms remember of its training.
How sure it is of its predictions tells nothing: many networks are surest of nonsense (docs/ask-ten-pictures.md has
figures).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode
from tqdm import tqdm

from interactify.errors import ModelError, NonFiniteError, OptionError, within_memory
from interactify.inspection.spec import Fit, ModelSpec
from interactify.network.input_report import InputCheck, InputRow
from interactify.network.network import Network
from interactify.pictures.picture import Picture, PictureLike
from interactify.pictures.resize_pad import sample
from interactify.pictures.window import Window

GRID: Final = 48  # rows and columns of the pixels at which the predictions are compared
PART: Final = 0.12  # of a photo's sides, which the parts of it leave out
SAMPLES: Final = 100  # of the photos, drawn with replacement, to see whether others would have led to another answer

_IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_CAFFE = 123.68 / 255, 116.779 / 255, 103.939 / 255  # red, green, blue
_BYTE = 1 / 255
_COLOURS: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    ("ImageNet's", {"mean": _IMAGENET[0], "std": _IMAGENET[1]}),
    ("0 to 1", {"mean": 0.0, "std": 1.0}),
    ("-1 to 1", {"mean": 0.5, "std": 0.5}),
    ("-0.5 to 0.5", {"mean": 0.5, "std": 1.0}),
    ("0 to 255", {"mean": 0.0, "std": _BYTE}),
    ("0 to 255 less the mean", {"mean": _CAFFE, "std": _BYTE}),
    ("ImageNet's, BGR", {"mean": _IMAGENET[0], "std": _IMAGENET[1], "bgr": True}),
    ("0 to 1, BGR", {"mean": 0.0, "std": 1.0, "bgr": True}),
    ("-1 to 1, BGR", {"mean": 0.5, "std": 0.5, "bgr": True}),
    ("0 to 255, BGR", {"mean": 0.0, "std": _BYTE, "bgr": True}),
    ("caffe's (less the mean, BGR)", {"mean": _CAFFE[::-1], "std": _BYTE, "bgr": True}),
    ("inverted, 1 to 0", {"mean": 1.0, "std": -1.0}),
)
_GREY: Final[tuple[tuple[str, dict[str, Any]], ...]] = (
    *_COLOURS[1:5],
    ("ImageNet's, grey", {"mean": 0.449, "std": 0.226}),
    _COLOURS[-1],
    ("inverted, 1 to -1", {"mean": 0.5, "std": -0.5}),
)


_FITS: Final[tuple[Fit, ...]] = ("letterbox", "squash")
Open = Callable[[PictureLike], Picture]
"""Opens a photo for the network."""


def check_normalisation(
    network: Network, photos: Sequence[PictureLike], opened: Open, progress: bool = False
) -> InputCheck:
    """See `Interactive.check_normalisation`."""
    spec = network.spec
    usual = _COLOURS if spec.channels == 3 else _GREY if spec.channels == 1 else _COLOURS[1:5]
    now = {"mean": spec.mean, "std": spec.std, "bgr": spec.bgr}
    specs = [("as wrapped", now, spec)]
    for name, options in usual:
        mean, std = (_each(options[key], spec.channels) for key in ("mean", "std"))
        other = replace(spec, mean=mean, std=std, bgr=options.get("bgr", False))
        if np.allclose((mean, std), (spec.mean, spec.std), rtol=0.02, atol=1e-3) and other.bgr == spec.bgr:
            specs[0] = (f"{name} (as wrapped)", now, spec)
        else:
            specs.append((name, options, other))
    return _compared("normalisation", network, specs, photos, opened, progress, by_statistics=True)


def check_size(
    network: Network,
    photos: Sequence[PictureLike],
    opened: Open,
    resolutions: Sequence[int] | None = None,
    progress: bool = False,
) -> InputCheck:
    """See `Interactive.check_size`."""
    spec = network.spec
    now: dict[str, Any] = {"resolution": spec.resolution, "fit": spec.fit}
    specs = [(f"{spec.resolution or 'own size'}, {spec.fit} (as wrapped)", now, spec)]
    for resolution in _resolutions(spec, resolutions):
        for fit in _FITS:
            if (resolution, fit) != (spec.resolution, spec.fit):
                options = {"resolution": resolution, "fit": fit}
                specs.append((f"{resolution}, {fit}", options, replace(spec, resolution=resolution, fit=fit)))
    return _compared("size", network, specs, photos, opened, progress, by_statistics=False)


def _resolutions(spec: ModelSpec, given: Sequence[int] | None) -> list[int]:
    """The sides to compare: those given, else around the network's own; only that one if it accepts no other."""
    if given is not None:
        for side in given:
            if isinstance(side, bool) or not isinstance(side, int) or side < 1:
                raise OptionError(f"Expected resolutions as whole numbers of pixels above 0, got {side!r}.")
        return list(dict.fromkeys(given))
    own = spec.resolution
    if spec.exact is not None:
        return [own or max(spec.exact)]
    if own is not None and spec.divisor == 1 and spec.smallest == own:
        return [own]
    step = max(32, spec.divisor)
    sides = [round(own * share / step) * step for share in (0.5, 0.75, 1.5, 2)] if own else [256, 384, 512, 768]
    return sorted({max(step, spec.smallest, side) for side in sides} | ({own} if own else set()))


def _each(value: float | Sequence[float], channels: int) -> tuple[float, ...]:
    return (float(value),) * channels if isinstance(value, (int, float)) else tuple(value)


# ---- running ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a network predicted for one photo: labels and certainty, and the statistics inside.

    `labels` (views, n) are the classes of the same n pixels, `sure` the mean probability of the predicted classes,
    `moments` for each batch norm the mean and variance of what it was given, and of its training: four arrays (C,).
    """

    labels: NDArray[np.int64]
    sure: float
    moments: list[tuple[NDArray[np.float64], ...]]


def _compared(
    what: str,
    network: Network,
    specs: Sequence[tuple[str, dict[str, Any], ModelSpec]],
    photos: Sequence[PictureLike],
    opened: Open,
    progress: bool,
    by_statistics: bool,
) -> InputCheck:
    if network.spec.sides != 2:
        raise OptionError(
            f"Expected a network of photos to compare the usual {what} of, got one of volumes, for which none is "
            "usual. Try mean=… and std=… in wrap(), in the units of your volumes."
        )
    if isinstance(photos, (str, bytes)) or not hasattr(photos, "__len__") or not len(photos):
        raise OptionError("Expected a list of photos, got none. Try about ten of those that the network is for.")
    pictures = [opened(photo) for photo in photos]
    seen: list[list[_Seen] | None] = [[] for _ in specs]
    with torch.inference_mode(False), torch.no_grad(), within_memory():
        for picture in tqdm(pictures, desc="photos", disable=not progress):
            for index, (_, _, spec) in enumerate(specs):
                if (rows := seen[index]) is None:
                    continue
                other = copy(network)
                other.spec = spec
                try:
                    rows.append(_seen(other, picture))
                except (ModelError, NonFiniteError):
                    if index == 0:
                        raise
                    seen[index] = None  # a size that the network does not accept, or numbers too large for its type
    kept = [(name, options, rows) for (name, options, _), rows in zip(specs, seen, strict=True) if rows is not None]
    return _judged(what, kept, by_statistics)


def _seen(network: Network, picture: Picture) -> _Seen:
    """Run a network on the whole photo, on a part of it, and on another part's mirror image."""
    high, wide = picture.size
    down, across = round(PART * high), round(PART * wide)
    windows = (
        (Window(0, 0, high, wide), False),
        (Window(0, 0, high - down, wide - across), False),
        (Window(down, across, high - down, wide - across), True),
    )
    rows, columns = (np.linspace(PART * (side - 1), (1 - PART) * (side - 1), GRID).round() for side in (high, wide))
    pixels = np.stack(np.meshgrid(columns, rows), -1).reshape(-1, 2)
    labels, sure, moments = list[Tensor](), 0.0, list[tuple[NDArray[np.float64], ...]]()
    for window, mirrored in windows:
        view = network.view((window.height, window.width))
        image = network.normalised(picture.to_network(window, view))
        with (norms := _BatchNorms()) if not labels else nullcontext():
            logits = network.plain_logits(image.flip(-1) if mirrored else image)
        points = view.points_to_network(pixels - np.array([window.left, window.top]))
        read = _at(logits.flip(-1) if mirrored else logits, points, image)
        several = network.spec.output.activation == "sigmoid" and len(read) > 1
        labels.append((read > 0).flatten() if several or len(read) == 1 else read.argmax(0))
        if len(labels) == 1:
            moments = norms.moments
            chances = torch.sigmoid(read.abs()) if several or len(read) == 1 else read.softmax(0).amax(0)
            sure = float(chances.mean())
    return _Seen(torch.stack(labels).long().cpu().numpy(), sure, moments)


def _at(logits: Tensor, points: Tensor, image: Tensor) -> Tensor:
    """Logits (K, n) of a map (1, K, h, w) at points (n, 2) of the image it is of."""
    scale = torch.tensor([logits.shape[-1] / image.shape[-1], logits.shape[-2] / image.shape[-2]]).to(points)
    return sample(logits, (points + 0.5) * scale - 0.5)[0].float()


class _BatchNorms(TorchFunctionMode):
    """Notes what every batch norm is given, and what it remembers of its training; no hooks on the modules."""

    def __init__(self) -> None:
        super().__init__()
        self.moments: list[tuple[NDArray[np.float64], ...]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is F.batch_norm or func is torch.batch_norm:
            given = {**dict(zip(("input", "running_mean", "running_var"), args, strict=False)), **kwargs}
            self._note(given.get("input"), given.get("running_mean"), given.get("running_var"))
        return func(*args, **kwargs)

    def _note(self, maps: Tensor | None, mean: Tensor | None, variance: Tensor | None) -> None:
        if maps is None or mean is None or variance is None or maps.ndim != 4 or maps[0, 0].numel() < 2:
            return
        if not mean.any() and bool((variance == 1).all()):
            return  # as it was made: never trained
        variances, means = torch.var_mean(maps.float(), (0, 2, 3))
        self.moments.append(tuple(each.double().cpu().numpy() for each in (means, variances, mean, variance)))


# ---- judging ---------------------------------------------------------------------------------------------------------


def _judged(what: str, kept: Sequence[tuple[str, dict[str, Any], list[_Seen]]], by_statistics: bool) -> InputCheck:
    """The rows, best first; and how often each is the best of photos drawn anew."""
    count = len(kept[0][2])
    stable = np.array([[_stability(each.labels) for each in rows] for _, _, rows in kept])
    moments = [_moments(rows) for _, _, rows in kept]
    has_norms = all(each is not None and each.shape == moments[0].shape for each in moments if moments[0] is not None)
    distances = moments if has_norms and moments[0] is not None else None

    def scores(chosen: NDArray[np.int64]) -> NDArray[np.float64]:
        if distances is not None and by_statistics:
            return np.array([-_distance(each[:, chosen]) for each in distances if each is not None])
        return stable[:, chosen].mean(1)

    everything = np.arange(count)
    final, random = scores(everything), np.random.default_rng(0)
    wins = np.zeros(len(kept))
    for _ in range(SAMPLES):
        wins[scores(random.choice(everything, count)).argmax()] += 1 / SAMPLES
    rows = [
        InputRow(
            name=name,
            options=options,
            stable=float(stable[index].mean()),
            sure=float(np.mean([each.sure for each in seen])),
            distance=None if distances is None else float(np.exp(_distance(distances[index]))),
            wins=float(wins[index]),
        )
        for index, (name, options, seen) in enumerate(kept)
    ]
    order = np.argsort(-final, kind="stable")
    alike = 1.0
    if len(order) > 1:
        first, second = (kept[index][2] for index in order[:2])
        pairs = zip(first, second, strict=True)
        alike = float(np.mean([(a.labels[0] == b.labels[0]).mean() for a, b in pairs]))
    return InputCheck(
        what, tuple(rows[index] for index in order), count, alike, distances is not None and by_statistics
    )


def _stability(labels: NDArray[np.int64]) -> float:
    """How far the views (v, n) agree beyond chance: the mean of Cohen's kappa over all pairs, 0 for a map of one class.

    Cohen, "A coefficient of agreement for nominal scales", Educational and Psychological Measurement 20, 1960.
    """
    classes = int(labels.max()) + 1
    shares = np.stack([np.bincount(view, minlength=classes) for view in labels]) / labels.shape[1]
    kappas = []
    for first, second in combinations(range(len(labels)), 2):
        agreed, by_chance = float((labels[first] == labels[second]).mean()), float(shares[first] @ shares[second])
        kappas.append((agreed - by_chance) / (1 - by_chance + 1e-3))
    return float(np.mean(kappas))


def _moments(rows: Sequence[_Seen]) -> Any:
    """(4, photos, channels of all norms) and the layer of each channel in a fifth row; None where they differ."""
    sizes = [[len(each[0]) for each in seen.moments] for seen in rows]
    if not sizes[0] or any(size != sizes[0] for size in sizes):
        return None
    layers = np.repeat(np.arange(len(sizes[0])), sizes[0]).astype(float)
    return np.stack([[np.concatenate(part) for part in (*zip(*s.moments, strict=True), (layers,))] for s in rows], 1)


def _distance(moments: NDArray[np.float64]) -> float:
    """How far maps are from what the batch norms remember: the mean logarithm of the layers' median divergences.

    The divergence of each channel is that of Kullback and Leibler between two normal distributions.
    """
    means, variances, trained_mean, trained_variance, layers = moments
    mean, variance = means.mean(0), variances.mean(0) + means.var(0) + 1e-5
    expected = trained_variance[0] + 1e-5
    gap = 0.5 * (np.log(expected / variance) + (variance + (mean - trained_mean[0]) ** 2) / expected - 1)
    of_layer = layers[0].astype(int)
    medians = [np.median(gap[of_layer == layer]) for layer in range(of_layer[-1] + 1)]
    return float(np.log(np.array(medians) + 1e-3).mean())
