"""What clicks do without BRS: the network alone, GrabCut, the random walker, behind sessions as the library has them.

A contestant here has `session(photo, target=None)`, and its sessions have `result`, `click` and `add`, so that
`interactify.evaluate` lets the same simulated user click at it as at a wrapped network. GrabCut and the random walker
come in two forms: from the clicks alone, and begun with what a network predicts without clicks.
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
from interactify.interactions.click import checked
from interactify.interactions.constraints import said as all_said
from interactify.pictures.decode import PhotoLike, read_photo, to_uint8

Mask = NDArray[np.bool_]
Pixels = NDArray[np.uint8]
Picture = NDArray[np.float64]
Seeds = NDArray[np.int8]
"""(H, W): 1 surely the object, -1 surely not, 0 to be found out."""

Rule = Callable[[tuple[Click, ...], Mask], Mask]
"""How a contestant answers: all clicks that hold and the last mask (H, W) give the new mask (H, W)."""
Solve = Callable[[Seeds], Picture]
"""Seeds (h, w) of a reduced picture give how likely each pixel (h, w) is the object's, in [0, 1]."""

RADIUS = 5  # photo pixels: the disc that Sofiiuk et al. draw for a click ("Reviving Iterative Training", ICIP 2022)
# Chosen on photos of ECSSD, none of which is in the data sets that are reported: docs/evaluation.md has the figures.
BETA, PRIOR = 500.0, 1e-3


@dataclass(frozen=True)
class Answer:
    """What came of a click: the part of `interactify.Result` that a run looks at.

    Attributes:
        mask: (H, W) bool.
        satisfied: whether every click that holds has its label in `mask`.
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
        """Say that a photo pixel, x to the right and y down, belongs to the object or does not.

        Raises:
            InteractionError: outside the photo, or not a number. The session is as it was.
        """
        return self.add([Click(x, y, positive)])

    def add(self, clicks: Sequence[Click]) -> Answer:
        """Say several things before one answer; raises as `click`, and then takes none of them."""
        height, width = self.result.mask.shape
        said = (*self.clicks, *(checked(click, (height, width)) for click in clicks))
        begun = time.perf_counter()
        holding = tuple(each for each in all_said(said, (height, width)).holding if isinstance(each, Click))
        mask = self._rule(holding, self.result.mask)
        satisfied = all(bool(mask[int(c.y), int(c.x)]) == c.positive for c in holding)
        self.clicks, self.result = said, Answer(mask, satisfied, time.perf_counter() - begun)
        return self.result


class NetworkAlone:
    """The network's own prediction, whatever is clicked: what the other rows begin with, and have to improve on."""

    def __init__(self, net: Interactive) -> None:
        self.net = net

    def session(self, photo: PhotoLike, target: int | str | None = None) -> BaselineSession:
        """Begin on a photo, as `Interactive.session`; raises what that raises."""
        return BaselineSession(self.net.session(photo, target=target).result.mask, lambda clicks, last: last)


class GrabCut:
    """OpenCV's `grabCut` (Rother, Kolmogorov & Blake, "GrabCut", SIGGRAPH 2004), given clicks in place of a box.

    Pixels near a click are surely of its kind, all others probably what they were in the last mask, and the
    colours are learnt anew from that at each click. Before the first click the mask is empty, or with a network its
    prediction; with nothing but negative clicks an empty mask stays empty.

    Args:
        net: predicts the first mask; None for the clicks alone.
        radius: of the discs of sure pixels, in photo pixels.
        iterations: of learning colours and cutting, at each click.

    Raises:
        OptionError: OpenCV is not installed.
    """

    def __init__(self, net: Interactive | None = None, radius: float = RADIUS, iterations: int = 5) -> None:
        self.net, self.radius, self.iterations = net, radius, iterations
        self.cv2 = required("cv2", "OpenCV")

    def session(self, photo: PhotoLike, target: int | str | None = None) -> BaselineSession:
        """Begin on a photo, as `Interactive.session`; raises what that raises."""
        pixels = to_uint8(read_photo(photo))
        first = np.zeros(pixels.shape[:2], bool)
        if self.net is not None:
            first = self.net.session(photo, target=target).result.mask
        return BaselineSession(first, partial(self._cut, pixels))

    def _cut(self, pixels: Pixels, clicks: tuple[Click, ...], last: Mask) -> Mask:
        cv2 = self.cv2
        seeds = discs(clicks, last.shape, self.radius)
        labels = np.where(last, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
        if (last | (seeds > 0)).all():  # there has to be some background: as for the random walker, the border
            labels[border(last.shape)] = cv2.GC_PR_BGD
        labels[seeds > 0], labels[seeds < 0] = cv2.GC_FGD, cv2.GC_BGD
        object_ = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))
        if not object_.any() or object_.all():  # one side has no colours to learn
            return object_
        # Each call sorts colours by k-means from random centres: the same ones each time, whatever ran before. The
        # threads are torch's, so that seconds can be compared. OpenCV has no way to ask for its seed and put it back.
        cv2.setRNGSeed(0)
        cv2.setNumThreads(torch.get_num_threads())
        blue_first = np.ascontiguousarray(pixels[..., ::-1])
        cv2.grabCut(blue_first, labels, None, None, None, self.iterations, cv2.GC_INIT_WITH_MASK)
        return np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD))


class RandomWalker:
    """The random walker: a pixel is the object's if a walk from it, shy of edges, meets a positive click first.

    Grady, "Random Walks for Image Segmentation", PAMI 2006. From the clicks alone it is scikit-image's
    `random_walker`, with the picture's border as background wherever no disc lies: the usual way out where all clicks
    are positive, kept afterwards since it helps (docs/evaluation.md). With negative clicks only, the mask is empty.

    With a network, its probabilities are a prior: at each step the walk may end with what the network says of the
    pixel it is at (Grady, "Multilabel Random Walker Image Segmentation Using Prior Models", CVPR 2005). scikit-image
    does not have that, so the system is set up and solved here. Confident pixels as seeds would not do: a click could
    not change what surrounds it.

    Args:
        net: predicts the prior and the first mask; None for the clicks alone.
        radius: of the discs of seeds, in photo pixels.
        beta: how shy of edges, in scikit-image's scale.
        prior: weight of the network's say, where an edge between two equal pixels weighs 1.
        side: photos are walked on at this many pixels a side at most; the probability is resized back.

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
        """Begin on a photo, as `Interactive.session`; raises what that raises."""
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
            said = np.asarray(Image.fromarray(result.probability).resize(size, Image.Resampling.BOX), float)
            first, solve = result.mask, partial(self._with_prior, laplacian_of(small, self.beta), said)
        return BaselineSession(first, partial(self._walk, solve, small.shape[:2]))

    def _walk(self, solve: Solve, size: tuple[int, int], clicks: tuple[Click, ...], last: Mask) -> Mask:
        height, width = last.shape
        seeds = discs(clicks, last.shape, self.radius)
        rows, columns = (((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(size, last.shape, strict=True))
        small = seeds[np.ix_(rows, columns)]
        for click in clicks:  # a disc squeezed between others may fall between the rows
            small[int(click.y) * size[0] // height, int(click.x) * size[1] // width] = 1 if click.positive else -1
        likely = Image.fromarray(solve(small).astype(np.float32))
        mask = np.asarray(likely.resize((width, height), Image.Resampling.BILINEAR)) > 0.5
        mask[seeds > 0], mask[seeds < 0] = True, False  # resizing may have moved a border across them
        return mask

    def _alone(self, picture: Picture, seeds: Seeds) -> Picture:
        if not (seeds > 0).any():
            return np.zeros(seeds.shape)
        seeds = np.where(border(seeds.shape) & (seeds == 0), -1, seeds)
        if not (seeds == 0).any() or not (seeds < 0).any():  # nothing to find out, or nothing but object
            return (seeds >= 0).astype(float)
        # Solved directly: conjugate gradients end, at the default tolerance, long before a few clicks' labels have
        # spread over a photo, and would make the method look worse than it is. It takes no longer.
        labels = np.where(seeds < 0, 2, seeds)
        likely: Picture = self.segmentation.random_walker(
            picture, labels, beta=self.beta, mode="bf", return_full_prob=True, channel_axis=-1
        )
        return likely[0]

    def _with_prior(self, graph: csr_array, said: Picture, seeds: Seeds) -> Picture:
        free, known = np.flatnonzero(seeds == 0), np.flatnonzero(seeds)
        likely = (seeds > 0).astype(float)
        if len(free):
            rows = graph[free]
            system = rows[:, free] + self.prior * eye_array(len(free))
            given = self.prior * said.flat[free] - rows[:, known] @ likely.flat[known]
            likely.flat[free] = spsolve(system.tocsc(), given, permc_spec="MMD_AT_PLUS_A")
        return likely


def discs(clicks: Sequence[Click], size: tuple[int, ...], radius: float) -> Seeds:
    """Seeds (H, W) within `radius` pixels of a click; where discs of both kinds overlap, the nearer click's.

    >>> discs([Click(0, 0), Click(3, 0, False)], (1, 6), 2)
    array([[ 1,  1, -1, -1, -1, -1]], dtype=int8)
    """
    away = {kind: np.full(size, np.inf) for kind in (True, False)}
    for kind, distance in away.items():
        points = [(int(c.y), int(c.x)) for c in clicks if c.positive == kind]
        if points:
            marks = np.ones(size, bool)
            marks[tuple(zip(*points, strict=True))] = False
            distance[...] = distance_transform_edt(marks)
    yes, no = away[True], away[False]
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
    """Import what the extra `baselines` brings; raises OptionError where it is not installed."""
    try:
        return import_module(module)
    except ImportError as cause:
        raise OptionError(
            f"This baseline needs {name}, which can't be imported ({cause}). Install the extra that brings it: "
            "pip install 'interactify[baselines]'"
        ) from cause
