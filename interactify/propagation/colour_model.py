"""The colours of object and background in one photo, learnt from the mask so far and from the clicks.

GrabCut's idea (Rother, Kolmogorov & Blake, SIGGRAPH 2004): a picture's own colours distinguish object and background
better than any network that was not trained on it. Histograms replace the mixtures of Gaussians: they are computed in
one pass, need no random initialisation, and are the same each time.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

BINS = {1: 64, 2: 32, 3: 16}  # along each channel of a guide, by its number of channels
LEAST = 20.0  # pixels: colours rarer than this have little effect
FLOOR = 2e-6  # of a class's pixels: the share of a colour that does not occur there
MOST = 3.0  # log-odds: the limit for any colour
NEAR = 1 / 75  # of the guide's shorter side: the radius around a click that counts as its colour
CERTAIN = 0.01  # of the guide's pixels: the weight of the surroundings of one click


def evidence(logits: Tensor, guide: Tensor, content: tuple[int, ...], points: Tensor, labels: Sequence[bool]) -> Tensor:
    """The log-odds that each pixel is the object, by its colour.

    Args:
        logits: (1, 1, h, w) log-odds of the object so far.
        guide: (1, C, h, w) in [0, 1], C from 1 to 3: the picture.
        content: (h', w') of the guide without padding.
        points: (n, 2) clicks in the guide's pixels, x then y.
        labels: of each click, True for the object.

    Returns:
        (1, 1, h, w) log-odds within ±3, of the guide's dtype and device: log p(colour | object) / p(colour | rest),
        smaller for rare colours. Computed on the CPU, where sums have a fixed order.

    >>> guide = torch.zeros(1, 1, 40, 40); guide[..., 20:] = 1.0  # dark to the left, bright to the right
    >>> unsure = torch.full((1, 1, 40, 40), -0.5)
    >>> odds = evidence(unsure, guide, (40, 40), torch.tensor([[30.0, 10.0], [5.0, 30.0]]), [True, False])
    >>> bool((odds[..., 20:] > 0).all()), bool((odds[..., :20] < 0).all())
    (True, True)
    """
    height, width = guide.shape[-2:]
    host = guide[0].detach().cpu().float()
    object_share = torch.sigmoid(logits[0, 0].detach().cpu().float())
    rest_share = 1 - object_share
    near = max(1.0, NEAR * min(height, width))
    certain = CERTAIN * height * width
    for (x, y), positive in zip(points.tolist(), labels, strict=True):
        own, other = (object_share, rest_share) if positive else (rest_share, object_share)
        for share, spread in ((own, near), (other, 3 * near)):
            rows, columns, bell = _bell(x, y, spread, (height, width))
            if share is own:
                share[rows, columns] += bell * (certain / bell.sum())
            else:
                share[rows, columns] *= 1 - bell
    for share in (object_share, rest_share):
        share[content[0] :], share[:, content[1] :] = 0, 0
    bins, index = _bins_of(host)
    counts = torch.stack(
        [_smoothed(torch.bincount(index, share.flatten().double(), bins.numel()).view(bins.shape))
         for share in (object_share, rest_share)]
    )  # fmt: skip
    share = counts / counts.flatten(1).sum(1).clamp(min=1e-12).view(2, *[1] * bins.ndim)
    count = counts.sum(0)
    odds = torch.log((share[0] + FLOOR) / (share[1] + FLOOR)) * (count / (count + LEAST))
    return odds.clamp(-MOST, MOST).flatten()[index].view(1, 1, height, width).to(guide)


def _bell(x: float, y: float, spread: float, size: tuple[int, int]) -> tuple[slice, slice, Tensor]:
    """A Gaussian of height 1 around a point, where it is above 1e-5, and the rows and columns of that part.

    Only that part, for speed on large pictures.
    """
    spans, sides = [], []
    for centre, side in ((y, size[0]), (x, size[1])):
        span = slice(max(0, int(centre - 5 * spread)), min(side, int(centre + 5 * spread) + 2))
        spans.append(span)
        along = torch.arange(span.start, span.stop, dtype=torch.float32, device="cpu")
        sides.append(torch.exp(-(along - centre).square() / (2 * spread**2)))
    return spans[0], spans[1], sides[0][:, None] * sides[1]


def _bins_of(guide: Tensor) -> tuple[Tensor, Tensor]:
    """An empty tensor in the histogram's shape, and the bin (h·w,) of each pixel of a guide (C, h, w)."""
    channels = len(guide)
    bins = BINS[channels]
    along = (guide * bins).long().clamp(0, bins - 1).flatten(1)
    index = along[0]
    for channel in along[1:]:
        index = index * bins + channel
    return torch.empty((bins,) * channels, device="cpu"), index


def _smoothed(histogram: Tensor) -> Tensor:
    """A histogram smoothed by [1/4, 1/2, 1/4] along each channel."""
    for axis in range(histogram.ndim):
        first, last = histogram.narrow(axis, 0, 1), histogram.narrow(axis, histogram.shape[axis] - 1, 1)
        lower = torch.cat([first, histogram.narrow(axis, 0, histogram.shape[axis] - 1)], axis)
        upper = torch.cat([histogram.narrow(axis, 1, histogram.shape[axis] - 1), last], axis)
        histogram = 0.5 * histogram + 0.25 * (lower + upper)
    return histogram
