"""One volume opened under one network: from the steps so far and all interactions to the next step.

A network sees a volume of up to `resolution` voxels a side whole. It sees a larger one in overlapping windows, whose
maps are blended before the first interaction; each interaction is then answered in a window around it, and outside of
that the mask stays as it was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify import brs
from interactify.interactions.click import Interaction
from interactify.interactions.in_space import VoxelClick
from interactify.interactions.voxel_gestures import VoxelMask
from interactify.network.variables import starts_anew
from interactify.optim.status import Status
from interactify.pictures.resize_pad import sample
from interactify.refinement.alternatives import pieces
from interactify.refinement.held import held_away_from
from interactify.refinement.own_map import reach
from interactify.refinement.wrapped import Wrapped
from interactify.runtime.cache import Kept, in_use
from interactify.runtime.pass_cache import PassCache
from interactify.runtime.suffix import Suffix
from interactify.volumes.block import Block, Grid, Size, Voxels, whole, window_weights
from interactify.volumes.constraints import VoxelConstraints, combine
from interactify.volumes.displayed import HALF, Displayed
from interactify.volumes.edges import Edges
from interactify.volumes.regions import sampled_voxels
from interactify.volumes.result import VolumeResult
from interactify.volumes.volume import Volume, points_of, read_padded

MARGIN: Final = 1 / 8  # of a window's sides, over which an answer passes into what lies around the window
AT: Final = 1.5  # voxels around a click where the answer is the network's alone
NEAR: Final = 3.0  # voxels: the standard deviation of the decrease of its share beyond
MIN_FOUND: Final = 0.05  # of a region's voxels: with less object, its centre is taken to be the object
ENDED: Final = (Status.TIME, Status.CANCELLED)
SAMPLED: Final = 2**20  # voxels, evenly spread, of which the reach of a map is found

Stop = Callable[[], str | None]
"""Called between evaluations: a `Status` ends the refinement, None lets it go on."""


@dataclass(frozen=True, eq=False)
class Patch:
    """A block of the volume as the network sees it.

    `image` is (1, C, d, h, w), normalised; `start` is the variables' identity, `suffix` the part of the network that
    depends on them. The block may reach beyond the volume, where the image is 0.
    """

    block: Block
    image: Tensor
    start: Tensor
    suffix: Suffix


@dataclass(frozen=True, eq=False)
class VolumeStep:
    """The state of an object after one answer.

    Attributes:
        interactions: all of the object.
        result: the answer.
        block, values: what the network saw last, and the variables that it ended with.
        target: the object's class, once it is decided.
        steadiness: the IoU of the mask with the one before it, where the network saw both.
    """

    interactions: tuple[Interaction, ...]
    result: VolumeResult
    block: Block
    values: Tensor | None
    target: int | None
    steadiness: float = 0.0


Steps = tuple[VolumeStep, ...]
"""The steps of an object from its first interaction on, each computed from the one before."""


class VolumeRefiner:
    """One volume, opened for one network. It holds what stays the same from interaction to interaction."""

    def __init__(self, net: Wrapped, volume: Volume) -> None:
        self.net = net
        self.volume = volume
        self.size: Size = volume.size
        self.grid = Grid.of(net.spec, volume.size)
        self.passes = PassCache()
        self._last_patch = Kept[Patch]()
        self._initial_steps: dict[int | None, VolumeStep] = {}  # by target
        self._energies: dict[int | None, brs.Energy] = {}
        self._last_edges: Edges | None = None
        self._own_logits: Tensor | None = None  # of a volume that is seen whole
        if self.grid.is_whole:
            self.whole_patch = self._new_patch(self.grid.windows()[0])
            self._own_logits = self.whole_patch.suffix.plain()

    def initial_step(self, target: int | None) -> VolumeStep:
        """The network's own prediction, before any interaction with an object of a class."""
        own = self._own_target(target)
        if own not in self._initial_steps:
            block = self.grid.windows()[0]
            displayed = Displayed(self._first_map(own))
            self._initial_steps[own] = VolumeStep((), self._placed(VolumeResult(displayed, block)), block, None, own)
        return self._initial_steps[own]

    def patch(self, block: Block) -> Patch:
        """The patch of a block; that of the whole volume is kept, and the last one while there is room."""
        if self.grid.is_whole:
            return self.whole_patch
        last = self._last_patch.get()
        if last is None or last.block != block:
            last = self._new_patch(block)
            self._last_patch.put(last, last.image.nbytes, last.image.device)
        return last

    def energy(self, target: int | None) -> brs.Energy:
        """What is minimised for an object of a class: the network's energy, with a gain where its logits are small."""
        if target not in self._energies:
            first = self.initial_step(target).result.displayed.first
            step = max(1, round((first.numel() / SAMPLED) ** (1 / 3)))
            self._energies[target] = brs.energy_reaching(self.net.energy, reach(first[::step, ::step, ::step]))
        return self._energies[target]

    @in_use()
    def refine(
        self, steps: Sequence[VolumeStep], interactions: tuple[Interaction, ...], target: int | None, stop: Stop
    ) -> VolumeStep:
        """The step that follows `steps`, when `interactions` are all of the object, the newest last.

        Raises ModelChangedError where the model has changed since the volume was opened.
        """
        started = time.perf_counter()
        self.net.check_unchanged()
        constraints = combine(interactions, self.size)
        last = steps[-1] if steps else self.initial_step(target)
        own = last.target if last.target is not None else self.resolve_target(target, constraints)
        if last.target is None and own != last.target:  # a class that was decided only now has a map of its own
            last = replace(self.initial_step(own), interactions=last.interactions)
        now = replace(last, target=own)
        if any(isinstance(each, VoxelMask) for each in interactions[len(last.interactions) :]):
            assert constraints.mask is not None
            mask = torch.from_numpy(constraints.mask.copy())
            now = replace(now, result=VolumeResult(Displayed(mask), now.block), values=None)
        now, evaluations, status = self._answers(steps, now, constraints, len(last.interactions), stop)
        if self._finds_nothing(now, constraints, len(last.interactions)) and status not in ENDED:
            constraints = combine(interactions, self.size, assume_centre=True)
            now, more, status = self._answers(steps, now, constraints, len(last.interactions), stop)
            evaluations += more
        last.result.release_arrays()
        before = steps[-1].result if steps else self.initial_step(target).result
        seconds = time.perf_counter() - started
        displayed = now.result.displayed.with_regions(constraints.regions)
        result = VolumeResult(displayed, now.block, constraints, evaluations, Status.of(status), seconds, before)
        return replace(now, interactions=interactions, result=self._placed(result))

    def _placed(self, result: VolumeResult) -> VolumeResult:
        return replace(result, spacing=self.volume.spacing, affine=self.volume.affine)

    def _answers(
        self, steps: Sequence[VolumeStep], now: VolumeStep, constraints: VoxelConstraints, known: int, stop: Stop
    ) -> tuple[VolumeStep, int, str]:
        """The state when the network has answered all interactions from `known` on, block by block.

        With it the number of evaluations, and the last one's status.
        """
        evaluations, status = 0, str(Status.DONE)
        waiting = constraints.required & (constraints.owners >= known)
        while (waiting := waiting & self._wrong(now, constraints)).any():
            block = self._block(now, constraints, waiting)
            now, found = self._answered(steps, now, constraints, waiting, block, stop)
            evaluations, status = evaluations + found.evaluations, found.status
            waiting = waiting & ~block.contains(constraints.voxels)
            if status in ENDED:
                break
        return now, evaluations, status

    def _finds_nothing(self, now: VolumeStep, constraints: VoxelConstraints, known: int) -> bool:
        """Whether a new region alone tells where the object is, and the mask has hardly any voxel in it."""
        region = constraints.region_only
        if region is None or not any(each is region for each in constraints.interactions[known:]):
            return False
        inside = now.result.displayed.with_regions(constraints.regions).at(sampled_voxels(region)) > 0
        return float(inside.float().mean()) < MIN_FOUND

    def resolve_target(self, target: int | None, constraints: VoxelConstraints) -> int | None:
        """The class of a positive click: `target`, or the class under the first click (of two classes, the second).

        For a mask it is the class that most of its voxels have, as far as the network sees them at once.
        """
        classes = self.net.spec.output.classes
        if target is not None or classes <= 2 or not len(constraints.voxels):
            return self._own_target(target)
        if constraints.region_only is not None:
            constraints = combine(constraints.interactions, self.size, assume_centre=True)
        positive = constraints.positive if constraints.regions else np.ones_like(constraints.positive)
        first = int(np.flatnonzero(positive)[0]) if positive.any() else 0
        voxel = constraints.voxels[first : first + 1]
        of_mask = constraints.positive & ~constraints.required
        if not constraints.required[first] and of_mask.any():
            voxel = constraints.voxels[of_mask]
        block = self.grid.around(voxel)
        voxel = voxel[block.contains(voxel)] if block.contains(voxel).any() else voxel[:1]
        block = block if block.contains(voxel).all() else self.grid.around(voxel)
        patch = self.patch(block)
        logits = patch.suffix.plain() if self._own_logits is None else self._own_logits
        points = points_of(voxel, patch.block)
        scale = torch.tensor(
            [own / side for own, side in zip(logits.shape[:1:-1], patch.image.shape[:1:-1], strict=True)],
            dtype=torch.float64,
        )
        found = sample(logits, (points + 0.5) * scale - 0.5)[0].argmax(0).cpu()
        return int(torch.bincount(found).argmax())

    def _own_target(self, target: int | None) -> int | None:
        classes = self.net.spec.output.classes
        return classes - 1 if target is None and classes <= 2 else target

    def _new_patch(self, block: Block) -> Patch:
        network, variables = self.net.network, self.net.variables
        image = read_padded(self.volume, block, network.normalised)
        start = variables.start(network, image)
        return Patch(block, image, start, Suffix(self.net.runtime, variables, image, start))

    def _first_map(self, target: int | None) -> Tensor:
        """(D, H, W) log-odds of a class on the CPU, before any interaction: of the whole volume, or blended."""
        network, everything = self.net.network, whole(self.size)
        if self._own_logits is not None:
            log_odds = network.log_odds(self._own_logits, target, self.whole_patch.image)
            return log_odds[0, 0][everything.within(self.whole_patch.block)].detach().float().cpu()
        weights = window_weights(self.grid.window)
        kind = torch.float16 if everything.voxels > HALF else torch.float32
        first = torch.empty(self.size, dtype=kind)
        depth = self.grid.window[0]
        sums, counts = (torch.zeros(depth, *self.size[1:], dtype=torch.float32) for _ in range(2))
        windows = self.grid.windows()
        at = windows[0].start[0]  # the slice of the volume that the sums begin with
        for index, block in enumerate(windows):
            image = read_padded(self.volume, block, network.normalised)
            log_odds = network.log_odds(network.plain_logits(image), target, image)[0, 0].float().cpu()
            inside = block.common(everything)
            assert inside is not None
            own, rows = inside.within(block), inside.slices
            there = (slice(inside.start[0] - at, inside.end[0] - at), *rows[1:])
            sums[there] += (log_odds * weights)[own]
            counts[there] += weights[own]
            following = windows[index + 1].start[0] if index + 1 < len(windows) else at + depth
            if following > at:  # the slices before the next windows are complete
                low, high = max(at, 0), min(following, self.size[0])
                first[low:high] = (sums[low - at : high - at] / counts[low - at : high - at]).to(kind)
                for total in (sums, counts):
                    left = total[following - at :].clone()
                    total.zero_()
                    total[: len(left)] = left
                at = following
        return first

    def _wrong(self, step: VolumeStep, constraints: VoxelConstraints) -> NDArray[np.bool_]:
        """(n,) bool: which labels the displayed mask does not have."""
        wrong: NDArray[np.bool_] = (step.result.displayed.at(constraints.voxels) > 0).numpy() != constraints.positive
        return wrong

    def _block(self, last: VolumeStep, constraints: VoxelConstraints, waiting: NDArray[np.bool_]) -> Block:
        """What the network sees next: the same as before where that shows what is new well inside, or around it."""
        voxels = constraints.voxels[waiting]
        if self.grid.is_whole:
            return self.whole_patch.block
        margins = [round(MARGIN * side) for side in last.block.size]
        start = tuple(first + (m if first > 0 else 0) for first, m in zip(last.block.start, margins, strict=True))
        ends = zip(last.block.end, margins, self.size, strict=True)
        end = tuple(last_one - (m if last_one < side else 0) for last_one, m, side in ends)
        inner = Block((start[0], start[1], start[2]), (end[0] - start[0], end[1] - start[1], end[2] - start[2]))
        if last.values is not None and inner.contains(voxels).all():
            return last.block
        around = self.grid.around(voxels)
        return around if around.contains(voxels).any() else self.grid.around(voxels[-1:])

    def _edges(self, block: Block) -> Edges:
        """The edges that an answer in a block spreads along; those of the last block are kept."""
        if self._last_edges is None or self._last_edges.block != block:
            self._last_edges = Edges(self.net.propagation, self.volume, block)
        return self._last_edges

    def _answered(
        self,
        steps: Sequence[VolumeStep],
        last: VolumeStep,
        constraints: VoxelConstraints,
        new: NDArray[np.bool_],
        block: Block,
        stop: Stop,
    ) -> tuple[VolumeStep, brs.Refinement]:
        """The state after the network has answered, in one block, all that is asked of voxels there."""
        net, patch = self.net, self.patch(block)
        inside = np.flatnonzero(block.contains(constraints.voxels))
        voxels, positive = constraints.voxels[inside], constraints.positive[inside]
        points = points_of(voxels, block)
        earlier = (step.values for step in (last, *reversed(steps)) if step.block == block and step.values is not None)
        start = patch.start if starts_anew(net.variables) else next(earlier, patch.start)
        here = block.common(whole(self.size))
        assert here is not None
        before = last.result.displayed.read(here)
        below = last.result.displayed.with_regions(()).read(here)
        odds = torch.full(block.size, -torch.inf)  # there is no object beyond the volume
        odds[here.within(block)] = before
        strength = brs.hold_of(net.energy)
        wrong = (before[tuple((voxels - np.array(here.start[::-1])).T[::-1])] > 0).numpy() != positive
        free = points[torch.from_numpy(new[inside] | wrong)]
        held = None  # boxes, and masks that an object begins with, tell that what is shown is not to be relied on
        if strength and not constraints.regions and constraints.mask is None:
            held = held_away_from(torch.sigmoid(odds), here.within(block), free, strength, last.steadiness)
        clicks = [VoxelClick(x, y, bool(own), z=z) for (x, y, z), own in zip(points.tolist(), positive, strict=True)]

        def forward(values: Tensor) -> Tensor:
            logits = self.passes(patch.suffix, values, clicks)
            return net.network.log_odds(logits, last.target, patch.image)

        found = brs.refine(
            forward,
            start,
            points,
            torch.from_numpy(positive),
            energy=self.energy(last.target),
            inertia=net.variables.inertia,
            solver=net.solver,
            max_evaluations=net.max_evaluations,
            stop=stop,
            weights=torch.from_numpy(constraints.weights[inside]),
            required=torch.from_numpy(constraints.required[inside]),
            held=held,
        )
        answer = found.logits[0, 0].detach().float().cpu()[here.within(block)]
        answer = self._edges(here).spread(answer, points_of(voxels, here))
        if not self.grid.is_whole:
            share = _share(here, self.size, voxels[constraints.required[inside]])
            answer = torch.lerp(below, answer, share)
        if constraints.mask is not None:
            answer = _merged(below, answer, voxels[constraints.required[inside]] - np.array(here.start[::-1]))
        displayed = last.result.displayed.with_answer(here, answer)
        both, either = ((before > 0) & (answer > 0)).sum(), ((before > 0) | (answer > 0)).sum()
        steady = float(both) / max(1.0, float(either))
        result = VolumeResult(displayed, block)
        return replace(last, result=result, block=block, values=found.values, steadiness=steady), found


def _merged(before: Tensor, answer: Tensor, voxels: Voxels) -> Tensor:
    """(d, h, w) of a mask that an object began with, changed in the pieces at voxels (n, 3) where an answer differs.

    As of a photo, `refinement/merge.py`: the progressive merge of Chen et al., "FocalClick", CVPR 2022.
    """
    changed = pieces(((before > 0) != (answer > 0)).numpy(), voxels)
    return torch.where(torch.from_numpy(changed), answer, before)


def _share(block: Block, size: Size, voxels: Voxels) -> Tensor:
    """(d, h, w) of a block inside the volume: how much of an answer is displayed, less towards the block's sides.

    Not towards those that are the volume's own; and at the voxels (n, 3) all of it.
    """
    share = torch.ones(block.size, dtype=torch.float32)
    axes = [torch.arange(side, dtype=torch.float32) for side in block.size]
    for axis, (along, first, side) in enumerate(zip(axes, block.start, size, strict=True)):
        margin = max(1.0, MARGIN * len(along))
        from_sides = torch.full_like(along, torch.inf)
        if first > 0:
            from_sides = torch.minimum(from_sides, along + 0.5)
        if first + len(along) < side:
            from_sides = torch.minimum(from_sides, len(along) - along - 0.5)
        ramp = (from_sides / margin).clamp(max=1)
        share = torch.minimum(share, ramp.view([-1 if each == axis else 1 for each in range(3)]))
    for voxel in (voxels - np.array(block.start[::-1])).tolist():
        z, y, x = ((along - at).square() for along, at in zip(axes, reversed(voxel), strict=True))
        beyond = ((z[:, None, None] + y[:, None] + x).sqrt() - AT).clamp(min=0)
        share = torch.maximum(share, torch.exp(-beyond.square() / (2 * NEAR**2)))
    return share
