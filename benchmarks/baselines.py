"""Baselines without BRS: the network alone, GrabCut and the random walker, with sessions like those of the library.

A contestant here has `session(photo, target=None)`, and its sessions have `result`, `click` and `add`, so that the
same simulated user of `interactify.evaluate` clicks on it as on a wrapped network. GrabCut and the random walker come
in two forms: from the clicks alone, and started from a network's prediction.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array, csr_array, eye_array
from scipy.sparse.csgraph import laplacian
from scipy.sparse.linalg import spsolve

from interactify import Click, Interactive, OptionError
from interactify.errors import extra
from interactify.interactions.click import checked
from interactify.interactions.constraints import combine
from interactify.pictures.decode import PhotoLike, read_photo, to_uint8

Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
Picture = NDArray[np.float64]
Seeds = NDArray[np.int8]
"""(H, W): 1 certainly the object, -1 certainly not, 0 unknown."""

Rule = Callable[[tuple[Click, ...], Mask], Mask]
"""A contestant's rule: all clicks in effect and the last mask (H, W) give the new mask (H, W)."""
Solve = Callable[[Seeds], Picture]
"""Seeds (h, w) of a reduced picture give the probability of the object at each pixel (h, w), in [0, 1]."""

RADIUS = 5  # photo pixels: the disc of Sofiiuk et al. for a click ("Reviving Iterative Training", ICIP 2022)
# Chosen on photos of ECSSD, which are in none of the reported data sets: docs/evaluation.md has the figures.
BETA, PRIOR = 500.0, 1e-3


@dataclass(frozen=True)
class Answer:
    """The result of a click: the part of `interactify.Result` that an evaluation reads.

    Attributes:
        mask: (H, W) bool.
        satisfied: whether every click in effect has its label in `mask`.
        seconds: wall time.
        evaluations: of a network, with gradient: always 0.
    """

    mask: Mask
    satisfied: bool = True
    seconds: float = 0.0
    evaluations: int = 0


class BaselineSession:
    """Clicks on one photo, answered by a rule."""

    def __init__(self, first: Mask, rule: Rule) -> None:
        self.result = Answer(first)
        self.clicks: tuple[Click, ...] = ()
        self._rule = rule

    def click(self, x: float, y: float, positive: bool = True) -> Answer:
        """Click a photo pixel, x to the right and y down, that belongs to the object or does not.

        Raises:
            InteractionError: outside the photo, or not a number. The session is unchanged.
        """
        return self.add([Click(x, y, positive)])

    def add(self, clicks: Sequence[Click]) -> Answer:
        """Add several clicks before one result; raises as `click`, and then adds none of them."""
        height, width = self.result.mask.shape
        every = (*self.clicks, *(checked(click, (height, width)) for click in clicks))
        start = time.perf_counter()
        in_effect = tuple(each for each in combine(every, (height, width)).in_effect if isinstance(each, Click))
        mask = self._rule(in_effect, self.result.mask)
        satisfied = all(bool(mask[int(c.y), int(c.x)]) == c.positive for c in in_effect)
        self.clicks, self.result = every, Answer(mask, satisfied, time.perf_counter() - start)
        return self.result


class NetworkAlone:
    """The network's own prediction, whatever is clicked: the other rows start from it."""

    def __init__(self, net: Interactive) -> None:
        self.net = net

    def session(self, photo: PhotoLike, target: int | str | None = None) -> BaselineSession:
        """Open a photo; raises as `Interactive.session`."""
        return BaselineSession(self.net.session(photo, target=target).result.mask, lambda clicks, last: last)


class GrabCut:
    """OpenCV's `grabCut` (Rother, Kolmogorov & Blake, "GrabCut", SIGGRAPH 2004), with clicks instead of a box.

    Pixels near a click have its label for certain, all others probably that of the last mask, and the colours are
    learnt again from these labels at each click. Before the first click the mask is empty, or with a network its
    prediction; with negative clicks only, an empty mask stays empty.

    Args:
        net: predicts the first mask; None for the clicks alone.
        radius: of the discs of certain pixels, in photo pixels.
        iterations: of learning colours and cutting, at each click.

    Raises:
        OptionError: OpenCV is not installed.
    """

    def __init__(self, net: Interactive | None = None, radius: float = RADIUS, iterations: int = 5) -> None:
        self.net, self.radius, self.iterations = net, radius, iterations
        self.cv2 = required("cv2", "OpenCV")

    def session(self, photo: PhotoLike, target: int | str | None = None) -> BaselineSession:
        """Open a photo; raises as `Interactive.session`."""
        pixels = to_uint8(read_photo(photo))
        first = np.zeros(pixels.shape[:2], bool)
        if self.net is not None:
            first = self.net.session(photo, target=target).result.mask
        return BaselineSession(first, partial(self._cut, pixels))

    def _cut(self, pixels: Pixels, clicks: tuple[Click, ...], last: Mask) -> Mask:
        cv2 = self.cv2
        seeds = discs(clicks, last.shape, self.radius)
        labels = np.where(last, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        if (last | (seeds > 0)).all():  # some background is needed: the border, as for the random walker
            labels[border(last.shape)] = cv2.GC_PR_BGD
        labels[seeds > 0], labels[seeds < 0] = cv2.GC_FGD, cv2.GC_BGD
        object_ = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if not object_.any() or object_.all():  # one side has no colours to learn
            return object_
        # Each call clusters colours by k-means from random centres; the seed makes them the same every time. As many
        # threads as torch's make seconds comparable. OpenCV can't return its seed, so it is not restored.
        cv2.setRNGSeed(0)
        cv2.setNumThreads(torch.get_num_threads())
        blue_first = np.ascontiguousarray(pixels[..., ::-1])
        cv2.grabCut(blue_first, labels, None, None, None, self.iterations, cv2.GC_INIT_WITH_MASK)
        return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


class RandomWalker:
    """The random walker: a walk from a pixel of the object, which avoids edges, meets a positive click first.

    Grady, "Random Walks for Image Segmentation", PAMI 2006. From the clicks alone it is scikit-image's
    `random_walker`, with the picture's border as background outside the discs: the usual solution where all clicks are
    positive, and kept with negative clicks since it helps (docs/evaluation.md). With negative clicks only, the mask is
    empty.

    With a network, its probabilities are a prior: at each step the walk may end with the network's prediction for its
    pixel (Grady, "Multilabel Random Walker Image Segmentation Using Prior Models", CVPR 2005). scikit-image
    doesn't support that, so the system is built and solved here. Confident pixels as seeds would not work: a click
    could not change its surroundings.

    Args:
        net: predicts the prior and the first mask; None for the clicks alone.
        radius: of the discs of seeds, in photo pixels.
        beta: how strongly edges separate, in scikit-image's scale.
        prior: weight of the network's prediction, where an edge between two equal pixels has weight 1.
        side: photos are reduced to at most this many pixels a side; the probability is resized back.

    Raises:
        OptionError: scikit-image is not installed, and there is no network.
    """

    def __init__(
        self,
        net: Interactive | None = None,
        radius: float = RADIUS,
        beta: float = BETA,
        prior: float = PRIOR,
        side: int = 256,
    ) -> None:
        self.net, self.radius, self.beta, self.prior, self.side = net, radius, beta, prior, side
        self.segmentation: Any = required("skimage.segmentation", "scikit-image") if net is None else None

    def session(self, photo: PhotoLike, target: int | str | None = None) -> BaselineSession:
        """Open a photo; raises as `Interactive.session`."""
        pixels = to_uint8(read_photo(photo))
        height, width = pixels.shape[:2]
        scale = min(1.0, self.side / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        small = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX)) / 255.0
        if np.ptp(small) == 0:  # edges are weighed by the picture's deviation, which must not be 0
            small[0, 0, 0] += 1e-6
        if self.net is None:
            first, solve = np.zeros((height, width), bool), partial(self._alone, small)
        else:
            result = self.net.session(photo, target=target).result
            predicted = np.asarray(Image.fromarray(result.probability).resize(size, Image.Resampling.BOX), float)
            first, solve = result.mask, partial(self._with_prior, laplacian_of(small, self.beta), predicted)
        return BaselineSession(first, partial(self._walk, solve, small.shape[:2]))

    def _walk(self, solve: Solve, size: tuple[int, int], clicks: tuple[Click, ...], last: Mask) -> Mask:
        height, width = last.shape
        seeds = discs(clicks, last.shape, self.radius)
        rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, last.shape, strict=True))
        small = seeds[np.ix_(rows, columns)]
        for click in clicks:  # a disc between others may be too narrow for the reduced rows
            small[int(click.y) * size[0] // height, int(click.x) * size[1] // width] = 1 if click.positive else -1
        likely = Image.fromarray(solve(small).astype(np.float32))
        mask = np.asarray(likely.resize((width, height), Image.Resampling.BILINEAR)) > 0.5
        mask[seeds > 0], mask[seeds < 0] = True, False  # the resized border may have crossed them
        return mask

    def _alone(self, picture: Picture, seeds: Seeds) -> Picture:
        if not (seeds > 0).any():
            return np.zeros(seeds.shape)
        seeds = np.where(border(seeds.shape) & (seeds == 0), -1, seeds)
        if not (seeds == 0).any() or not (seeds < 0).any():  # no unknown pixel, or only the object
            return (seeds >= 0).astype(float)
        # Solved directly: at the default tolerance, conjugate gradients stop long before a few clicks' labels have
        # spread over a photo, and the method would look worse than it is. It takes no longer.
        labels = np.where(seeds < 0, 2, seeds)
        likely: Picture = self.segmentation.random_walker(
            picture, labels, beta=self.beta, mode="bf", return_full_prob=True, channel_axis=-1
        )
        return likely[0]

    def _with_prior(self, graph: csr_array, predicted: Picture, seeds: Seeds) -> Picture:
        free, known = np.flatnonzero(seeds == 0), np.flatnonzero(seeds)
        likely = (seeds > 0).astype(float)
        if len(free):
            rows = graph[free]
            system = rows[:, free] + self.prior * eye_array(len(free))
            given = self.prior * predicted.flat[free] - rows[:, known] @ likely.flat[known]
            likely.flat[free] = spsolve(system.tocsc(), given, permc_spec="MMD_AT_PLUS_A")
        return likely


def discs(clicks: Sequence[Click], size: tuple[int, ...], radius: float) -> Seeds:
    """Seeds (H, W) within `radius` pixels of a click; where discs of both kinds overlap, the nearer click's.

    >>> discs([Click(0, 0), Click(3, 0, False)], (1, 6), 2)
    array([[ 1,  1, -1, -1, -1, -1]], dtype=int8)
    """
    distances = {kind: np.full(size, np.inf) for kind in (True, False)}
    for kind, distance in distances.items():
        points = [(int(c.y), int(c.x)) for c in clicks if c.positive == kind]
        if points:
            marks = np.ones(size, bool)
            marks[tuple(zip(*points, strict=True))] = False
            distance[...] = distance_transform_edt(marks)
    yes, no = distances[True], distances[False]
    seeds = np.zeros(size, np.int8)
    seeds[(yes <= radius) & (yes < no)], seeds[(no <= radius) & (no < yes)] = 1, -1
    return seeds


def border(size: tuple[int, ...]) -> Mask:
    """(H, W) bool: the outermost rows and columns of a picture."""
    ring = np.ones(size, bool)
    ring[1:-1, 1:-1] = False
    return ring


def laplacian_of(picture: Picture, beta: float) -> csr_array:
    """The Laplacian (H·W, H·W) of a picture's four-connected graph, its edges weighed as scikit-image does.

    Args:
        picture: (H, W, C), of more than one colour.
        beta: how much an edge of the picture separates.
    """
    height, width, channels = picture.shape
    index = np.arange(height * width).reshape(height, width)
    one = np.concatenate([index[:, :-1].ravel(), index[:-1].ravel()])
    other = np.concatenate([index[:, 1:].ravel(), index[1:].ravel()])
    colours = picture.reshape(-1, channels)
    steps = np.square(colours[one] - colours[other]).sum(axis=1)
    weights = np.exp(-beta * steps / (10 * picture.std() * np.sqrt(channels))) + 1e-10
    graph = coo_array((weights, (one, other)), shape=(index.size, index.size)).tocsr()
    return csr_array(laplacian(graph + graph.T))


def required(module: str, name: str) -> Any:
    """Import a package of the extra `baselines`; raises OptionError where it is not installed."""
    try:
        return import_module(module)
    except ImportError as cause:
        raise OptionError(
            f"Expected {name} for this baseline, got an error on importing it ({cause}). Try {extra('baselines')}."
        ) from cause
