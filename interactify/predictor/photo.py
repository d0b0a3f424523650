"""One photo under prompts: a prompt is refined in a session, and its result is read back as logits and clicks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from interactify.errors import ModelChangedError
from interactify.interactions.click import Click
from interactify.interactions.gestures import Mask
from interactify.interactions.rasterise import bounds
from interactify.interactive import Interactive
from interactify.optim.status import Status
from interactify.pictures.resize_pad import View
from interactify.pictures.window import Window, whole
from interactify.predictor.candidates import expected_iou
from interactify.predictor.prompts import LOW, Prompt, mask_of
from interactify.refinement.layers import CERTAIN, NetworkLayer
from interactify.refinement.merge import merged_mask
from interactify.refinement.next_step import next_step
from interactify.refinement.result import Result
from interactify.session.session import Session


class PromptedPhoto:
    """A photo whose session refines each prompt from the network's own prediction. Not to be shared by threads."""

    def __init__(self, net: Interactive, session: Session) -> None:
        """With a session of this network that has no interactions."""
        self._net, self.session = net, session

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the photo, in pixels."""
        return self.session.size

    def refine(self, prompt: Prompt, target: int | str | None = None) -> Result:
        """The session's result for one prompt; without interactions the network's own prediction.

        Args:
            prompt: within the photo.
            target: the class that a positive click means, as for `Interactive.session`; by default the session's.

        Raises:
            OptionError: the network has no such class.
            NonFiniteError, NotEnoughMemoryError: as `Session.add`.
        """
        try:
            self.session.wrapped.check_unchanged()
        except ModelChangedError:  # a prompt depends on no earlier one: the photo is opened under the network of now
            self.session = self._net.session(self.session.refiner.picture)
        session = self.session
        try:
            if target is not None:  # another object of the same session: all classes share its passes
                session.add_object(target=target)
            own = session.track.target
            several = own is None and session.wrapped.spec.output.classes > 2
            interactions = prompt.interactions(positive_first=several)
            reads = session.wrapped.spec.click_maps
            if prompt.mask is not None and interactions and reads is not None and reads.previous_mask:
                _begin_with(session, prompt.mask)
                return session.add(interactions)
            result = session.add(interactions)
            return result if prompt.mask is None else _merged(session, mask_of(prompt.mask, self.size))
        finally:
            session.restart()  # the next prompt starts from the photo, and what this one cached is free


def _begin_with(session: Session, mask: NDArray[np.float32]) -> None:
    """Let a session go on from a mask (256, 256) of logits, as if that were the result of interactions before.

    So a click network reads it as the mask before the newest click, as it was trained to, and is looked at closer
    where a session would.
    """
    first, photo = session.initial_step, session.refiner.photo_window
    logits = torch.from_numpy(mask)[None, None].to(first.log_odds.device)
    layer = NetworkLayer(logits, View(session.size, (LOW, LOW), (LOW, LOW)), photo)
    log_odds = first.crop.read(layer, lambda each: each).to(first.log_odds)
    result = Result(log_odds, first.crop.view, first.crop.window, layer, layer, session.size, status=Status.PAINTED)
    step = replace(first, result=result, log_odds=log_odds)
    session.history = session.history.changed(session.history.now.with_steps((step,)))


def _merged(session: Session, mask: Mask) -> Result:
    """A session's result over a mask, which changes only in the pieces that the session's points contradict.

    The merge is that of a `Mask` in a session. But added as one, it would also pull the network towards the mask: where
    the mask is the network's own, points then correct less of it (docs/predictor.md), at several times the evaluations.
    """
    first, photo = session.initial_step, session.refiner.photo_window
    last = session.steps[-1] if session.steps else first
    found = last.result
    constraints = replace(found.constraints, mask=mask)
    merged = merged_mask(first, constraints, last.crop, last.log_odds, photo)
    return next_step(
        first, constraints, last.crop, last.values, last.log_odds, last.targets, photo, merged,
        evaluations=found.evaluations, status=found.status, seconds=found.seconds,
    ).result  # fmt: skip


@dataclass(frozen=True, eq=False)
class ObjectLogits:
    """The logits (h, w) float32 of a result, in the part of the photo where the object may be.

    Attributes:
        logits: in `window`, which is the box's or the whole photo; outside it nothing is the object.
        clicks: of the result, in pixels of the window.
        size: (H, W) of the photo.
    """

    logits: NDArray[np.float32]
    window: Window
    clicks: tuple[Click, ...]
    size: tuple[int, int]

    @classmethod
    def of(cls, result: Result) -> ObjectLogits:
        """Read a result."""
        region = result.constraints.region
        window = whole(result.size) if region is None else bounds(region)
        clicks = (replace(c, x=c.x - window.left, y=c.y - window.top) for c in result.clicks)
        inside = tuple(c for c in clicks if 0 <= c.x < window.width and 0 <= c.y < window.height)
        return cls(result.logits_in(window).float().cpu().numpy(), window, inside, result.size)

    def on_photo(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """Maps (C, h, w) of the window as (C, H, W): outside it, certainly not the object."""
        photo = np.full((len(maps), *self.size), -CERTAIN, np.float32)
        rows, columns = self.window.slices
        photo[:, rows, columns] = maps
        return photo


@dataclass(frozen=True, eq=False)
class ScoredMask:
    """A mask (H, W) bool of a whole photo, and its IoU in [0, 1] as the network's probabilities estimate it."""

    mask: NDArray[np.bool_]
    score: float

    @classmethod
    def of(cls, result: Result) -> ScoredMask:
        """The mask of a result."""
        logits = ObjectLogits.of(result).logits
        return cls(result.mask, expected_iou(logits, logits > 0))


def low_resolution(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logits (C, H, W) of a photo as (C, 256, 256), whatever its shape: as masks go from one call to the next."""
    maps = torch.from_numpy(logits)[None]
    low = F.interpolate(maps, (LOW, LOW), mode="bilinear", align_corners=False, antialias=True)
    return low[0].clamp(-32, 32).numpy()
