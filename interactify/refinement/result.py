"""What comes back from an interaction: the mask, how sure it is, what changed, what is unsatisfied, and its cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from interactify.errors import OptionError, text_of, warn_renamed
from interactify.interactions.click import Click, Interaction
from interactify.interactions.constraints import TARGET, Constraints
from interactify.interactions.gestures import Box, Labels, Lasso, Mask
from interactify.optim.status import Status
from interactify.pictures.resize_pad import View
from interactify.pictures.window import Window, extent_of, whole
from interactify.refinement.alternatives import Labelled, narrow_and_wide, pieces
from interactify.refinement.choices import NARROW, USUAL, WIDE, Choice
from interactify.refinement.layers import (
    LARGE,
    Layer,
    NetworkLayer,
    initial_mask_of,
    on_network_grid,
    with_network,
)

T = TypeVar("T")
HUGE = 100_000_000  # pixels of a picture that is never compared as a whole
PINHOLE = 0.01  # of the piece that a negative click is on: with less taken away, it left a pinhole


@dataclass(frozen=True)
class Unsatisfied:
    """An interaction whose label the mask does not have everywhere.

    Attributes:
        interaction: which.
        probability: of its label, in [0, 1], at the pixel where it is lowest; at most 0.5.
        reason: why, and what the mask shows instead, for a person to read.
    """

    interaction: Interaction
    probability: float
    reason: str


class Alternatives(NamedTuple):
    """Three readings of how far the newest interactions mean; `usual` is what a session shows by itself."""

    narrow: Result
    usual: Result
    wide: Result


@dataclass(frozen=True, eq=False)
class Result:
    """A mask and where it comes from. Immutable; arrays are read-only.

    Attributes:
        logits: (1, 1, h', w') log-odds of the object in network pixels.
        window: the part of the photo that the network saw.
        layer: the network's log-odds of the photo, in the window and outside it.
        displayed: the same with an initial mask, boxes, and strokes that erase or restore: what the mask is read from.
        size: (H, W) of the photo.
        constraints: what the interactions together ask of pixels.
        class_probabilities: (n,) of each of the constraints' points whose label is about another class than the
            object's, how probable that label is; NaN for the others.
        evaluations: how often the network was run for this result; a click network's forward pass, which
            comes before, counts as one.
        status: an `interactify.optim.Status`: "done", "held", "converged", "budget" or "stalled" (see
            `interactify.brs`), "time", "cancelled" or "superseded" where the refinement ended early; "painted" where
            none was needed, "plain" before the first interaction, "preview" from `Session.preview`.
        seconds: wall time of the refinement.
        previous: the result before this one, or a function that computes it.
        choice: which of its `alternatives` it is: "narrow", "usual" or "wide".
        chosen_from: the usual one, or a function that computes it; None where this is it.
    """

    logits: Tensor
    view: View
    window: Window
    layer: Layer
    displayed: Layer
    size: tuple[int, int]
    constraints: Constraints = field(default_factory=lambda: Constraints(()))
    class_probabilities: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    evaluations: int = 0
    status: str = Status.PLAIN
    seconds: float = 0.0
    previous: Result | Callable[[], Result] | None = None
    choice: Choice = USUAL
    chosen_from: Result | Callable[[], Result] | None = None

    @property
    def before(self) -> Result | None:
        """The result before this one; None before the first interaction."""
        return self.previous() if callable(self.previous) else self.previous

    @cached_property
    def mask(self) -> NDArray[np.bool_]:
        """(H, W) bool: where the object is more likely than not."""
        return self.mask_in(whole(self.size))

    @cached_property
    def probability(self) -> NDArray[np.float32]:
        """(H, W) float32 in [0, 1]: the probability of the object."""
        return self.probability_in(whole(self.size))

    def mask_in(self, window: Window, step: int = 1) -> NDArray[np.bool_]:
        """(h, w) bool: the mask in a window of the photo, for photos whose whole mask is too large.

        With `step` only every `step`-th row and column, from the window's corner on: (⌈h / step⌉, ⌈w / step⌉), as
        many as a screen has. Raises OptionError for a window that is not inside the photo, and for a step that is not
        a whole number of at least 1.
        """
        return _read_only(self.logits_in(window, step).gt(0).cpu().numpy())

    def probability_in(self, window: Window, step: int = 1) -> NDArray[np.float32]:
        """(h, w) float32 in [0, 1], in a window of the photo; `step` and errors as in `mask_in`."""
        return _read_only(torch.sigmoid(self.logits_in(window, step)).float().cpu().numpy())

    def logits_in(self, window: Window, step: int = 1) -> Tensor:
        """Log-odds (h, w) in a window of the photo; `step` and errors as in `mask_in`."""
        if not isinstance(window, Window) or whole(self.size).common(window) != window:
            height, width = self.size
            raise OptionError(
                f"Expected a window of the photo, Window(top, left, height, width) within {height} rows and {width} "
                f"columns, got {text_of(window)}."
            )
        if isinstance(step, bool) or not isinstance(step, (int, np.integer)) or step < 1:
            raise OptionError(f"Expected a step of whole pixels, at least 1, got {text_of(step)}.")
        return self.displayed.read(window, int(step))

    @property
    def interactions(self) -> tuple[Interaction, ...]:
        """The interactions in effect."""
        return self.constraints.in_effect

    @property
    def clicks(self) -> tuple[Click, ...]:
        """The clicks in effect."""
        return tuple(each for each in self.interactions if isinstance(each, Click))

    @property
    def overruled(self) -> tuple[Interaction, ...]:
        """The interactions that are no longer in effect, because later ones contradict them."""
        return self.constraints.overruled

    @cached_property
    def unsatisfied(self) -> tuple[Unsatisfied, ...]:
        """The interactions in effect whose label `mask` does not have everywhere, and why."""
        constraints, probabilities = self.constraints, self.point_probabilities
        found = []
        for index, interaction in enumerate(constraints.interactions):
            own = (constraints.owners == index) & constraints.required & ~(probabilities > 0.5)
            if own.any():
                lowest = float(np.nanmin(probabilities[own])) if not np.isnan(probabilities[own]).all() else 0.0
                found.append(Unsatisfied(interaction, lowest, self._reason()))
        return tuple(found)

    @cached_property
    def point_probabilities(self) -> NDArray[np.float64]:
        """(n,) the displayed probability of each label in `constraints`; above 0.5 where it is satisfied."""
        if not len(self.constraints.points):
            return np.zeros(0)
        logits = self.displayed.at(self.constraints.points).double().cpu().numpy()
        satisfied = (logits > 0) == self.constraints.positive
        likelier = 1 / (1 + np.exp(np.clip(-np.abs(logits), -700, 0)))
        # By the sign, as in the mask: log-odds too small to move a probability away from 0.5 still decide.
        own = np.where(satisfied, np.maximum(likelier, np.nextafter(0.5, 1)), np.minimum(1 - likelier, 0.5))
        return np.where(np.isnan(self.class_probabilities), own, self.class_probabilities)

    @property
    def satisfied(self) -> bool:
        """Whether `mask` has the label of every interaction in effect."""
        return not self.unsatisfied

    @cached_property
    def changed(self) -> NDArray[np.bool_]:
        """(H, W) bool: where the mask differs from that of the result before."""
        before = self.before
        return _read_only(np.zeros(self.size, bool) if before is None else self.mask != before.mask)

    @cached_property
    def changed_box(self) -> Window | None:
        """The smallest window that holds everything that changed; None where nothing did.

        Of a picture of more than `HUGE` pixels only the part that the network saw is compared: changes by a box or a
        stroke outside of it are not found.
        """
        if self.size[0] * self.size[1] <= HUGE or (before := self.before) is None:
            return extent_of(self.changed)
        part = self.window
        inside = extent_of(self.mask_in(part) != before.mask_in(part))
        if inside is None:
            return None
        return Window(part.top + inside.top, part.left + inside.left, inside.height, inside.width)

    @cached_property
    def pinhole(self) -> bool:
        """Whether the newest click, a negative one, took away less than a hundredth of the piece that it is on.

        A piece is what hangs together in the mask before, in the part of the photo that the network saw. Such a click
        is satisfied all the same: its own pixel has its label. If it meant more, `alternatives.wide` may be it, or
        another click on the rest of the piece.
        """
        before, interactions = self.before, self.constraints.interactions
        newest = interactions[0 if before is None else len(before.constraints.interactions) :]
        if before is None or len(newest) != 1 or not isinstance(newest[0], Click) or newest[0].positive:
            return False
        part, mask = self.window, before.mask_in(self.window)
        (x, y), own = (int(newest[0].x) - part.left, int(newest[0].y) - part.top), newest[0].label is None
        if not own or not (0 <= x < part.width and 0 <= y < part.height and mask[y, x]):
            return False
        piece = pieces(mask, np.array([[x, y]]))
        return int((piece & ~self.mask_in(part)).sum()) < PINHOLE * int(piece.sum())

    @cached_property
    def alternatives(self) -> Alternatives:
        """This result, and what it would be if the newest interactions meant less, or more.

        They come from the log-odds that the network gave for this result and for the one before, without running it
        again, when they are first asked for; see `interactify.refinement.alternatives`. Each satisfies what the usual
        one satisfies. `Session.choose` goes on from one of them. All three are the same where nothing is ambiguous:
        after strokes that erase and restore, initial masks and label maps alone, and wherever a session's clicks change
        a label map.
        """
        if self.chosen_from is not None:
            usual = self.chosen_from() if callable(self.chosen_from) else self.chosen_from
            return usual.alternatives
        with torch.inference_mode(False), torch.no_grad():  # the next refinement needs gradients near these log-odds
            narrow, wide = self._narrow_and_wide() or (None, None)
        return Alternatives(self._alternative(NARROW, narrow), self, self._alternative(WIDE, wide))

    def _narrow_and_wide(self) -> tuple[Tensor, Tensor] | None:
        """Log-odds (1, 1, h', w') in the window; None where nothing is ambiguous."""
        before, constraints = self.before, self.constraints
        count = 0 if before is None else len(before.constraints.interactions)
        newest = constraints.interactions[count:]
        drawn = self.status == Status.PAINTED or (before is not None and all(isinstance(each, Mask) for each in newest))
        if drawn or isinstance(constraints.mask, Labels):
            return None
        seen = constraints.required & self.window.contains(constraints.points)
        corner = np.array([self.window.left, self.window.top])
        own = constraints.labels == TARGET
        # What is of another class, and so not of the object, stays that, as long as the usual mask says so too.
        other = ~own & constraints.positive
        other[other] = self.displayed.at(constraints.points[other]).le(0).cpu().numpy()
        labelled = Labelled(
            self.view.points_to_network((constraints.points[seen] - corner).astype(float)),
            (constraints.positive & own)[seen],
            constraints.owners[seen] >= count,
            (own | other)[seen],
        )
        changes = before is not None and not any(isinstance(each, (Box, Lasso)) for each in newest)
        return narrow_and_wide(self._seen_as_here(before) if before and changes else None, self.logits, labelled)

    def _seen_as_here(self, other: Result) -> Tensor:
        """The log-odds of another result in this one's window, on the network's grid."""
        if (other.window, other.view) == (self.window, self.view):
            return other.logits
        return on_network_grid(other.layer, self.view, self.window).to(self.logits)

    def _alternative(self, choice: Choice, logits: Tensor | None) -> Result:
        """This result over other log-odds; the usual log-odds where others would leave an interaction unsatisfied."""
        chosen = replace(self, choice=choice, chosen_from=self)
        if logits is None or not isinstance(self.layer, NetworkLayer):
            return chosen
        layer = replace(self.layer, logits=logits)
        displayed = with_network(self.displayed, layer, self._merged(layer))
        found = replace(chosen, logits=logits, layer=layer, displayed=displayed)
        usual = [each.interaction for each in self.unsatisfied]
        kept = all(any(each.interaction is other for other in usual) for each in found.unsatisfied)
        return found if kept else chosen

    def _merged(self, layer: NetworkLayer) -> NDArray[np.bool_] | None:
        """The initial mask, changed at the points where this result changed it, in the pieces of another map."""
        mask, base, points = initial_mask_of(self.displayed), self._mask_before(), self.constraints.points
        if mask is None or base is None:
            return mask
        points = points[(mask != base)[points[:, 1], points[:, 0]] & self.window.contains(points)]
        merged = base.copy()
        if len(points):
            differs = layer.read(self.window).gt(0).cpu().numpy() != base[self.window.slices]
            merged[self.window.slices] ^= pieces(differs, points - np.array([self.window.left, self.window.top]))
        return _read_only(merged)

    def _mask_before(self) -> NDArray[np.bool_] | None:
        """The initial mask before the newest interactions changed it."""
        given, before = self.constraints.mask, self.before
        if isinstance(given, Mask) and not (before and any(given is each for each in before.constraints.interactions)):
            return given.mask
        return None if before is None else before.initial_mask

    @property
    def initial_mask(self) -> NDArray[np.bool_] | None:
        """(H, W) bool, the mask that the next interactions change in pieces only; None without one.

        An initial mask with the changes so far, or a mask that was chosen among `alternatives`.
        """
        mask = initial_mask_of(self.displayed)
        return self.mask if mask is None and self.choice != USUAL else mask

    @cached_property
    def extent(self) -> Window | None:
        """The smallest window that holds the object; of a large photo to within one network pixel."""
        height, width = self.size
        if height * width <= LARGE:
            return extent_of(self.mask)
        scale = max(self.logits.shape[-2:]) / max(self.size)
        xs, ys = (np.linspace(0, side - 1, max(1, round(side * scale))) for side in (width, height))
        pixels = np.stack(np.meshgrid(np.rint(xs), np.rint(ys)), -1).reshape(-1, 2).astype(np.int64)
        inside = pixels[self.displayed.at(pixels).gt(0).cpu().numpy()]
        if not len(inside):
            return None
        (left, top), (right, bottom) = inside.min(0).tolist(), inside.max(0).tolist()
        return Window(top, left, bottom + 1 - top, right + 1 - left)

    def release_arrays(self) -> None:
        """Free the alternatives, and whole arrays of a large photo; both are computed again where asked for."""
        names = ["alternatives"]
        if self.size[0] * self.size[1] > LARGE:
            names += ["mask", "probability", "changed"]
        for result in (self, self.chosen_from, self.previous):  # that one's for `changed`
            if isinstance(result, Result):
                for name in names:
                    result.__dict__.pop(name, None)

    def __repr__(self) -> str:
        height, width = self.size
        count = len(self.interactions)
        state = "satisfied" if self.satisfied else f"{len(self.unsatisfied)} of {count} interactions unsatisfied"
        return (
            f"Result({width}x{height} pixels, {count} interactions, {state}, {self.status}, "
            f"{self.evaluations} evaluations, {self.seconds * 1000:.0f} ms)"
        )

    def _reason(self) -> str:
        best = "the best that was found is shown"
        were = "1 evaluation, all that max_evaluations allows, was"
        were = (
            were if self.evaluations == 1 else f"{self.evaluations} evaluations, all that max_evaluations allows, were"
        )
        reasons: dict[str, str] = {
            Status.BUDGET: f"{were} not enough; {best}",
            Status.TIME: f"max_seconds was over after {self.evaluations} evaluations; {best}",
            Status.CANCELLED: f"it was cancelled after {self.evaluations} evaluations; {best}",
            Status.SUPERSEDED: "a newer interaction came before it was done, and is refined together with it",
        }
        otherwise = f"the network can't be brought there: no step lowers the energy further; {best}"
        return reasons.get(self.status, otherwise)

    # ---- old names, kept for one release -----------------------------------------------------------------------------

    @property
    def said(self) -> Constraints:
        """The old name of `constraints`."""
        warn_renamed("Result.said", "Result.constraints")
        return self.constraints

    @property
    def met(self) -> NDArray[np.float64]:
        """The old name of `class_probabilities`."""
        warn_renamed("Result.met", "Result.class_probabilities")
        return self.class_probabilities

    @property
    def shown(self) -> Layer:
        """The old name of `displayed`."""
        warn_renamed("Result.shown", "Result.displayed")
        return self.displayed

    @property
    def chances(self) -> NDArray[np.float64]:
        """The old name of `point_probabilities`."""
        warn_renamed("Result.chances", "Result.point_probabilities")
        return self.point_probabilities


def _read_only(array: NDArray) -> NDArray:
    array.setflags(write=False)
    return array
